"""Installs what a search needs, at the first search and after asking, and says plainly when that does not work."""

import importlib.metadata
import subprocess
from pathlib import Path

from TumorRetrievalGui.query_logic import NotPossible
from TumorRetrievalGui.translation import _

_REQUIREMENTS = Path(__file__).resolve().parents[1] / "Resources" / "requirements.txt"
_NAME = "TumorRetrieval"
# 2.9 makes 3D convolutions allocate many times the memory they need: https://github.com/pytorch/pytorch/issues/166643
_TORCH = ">=2.4,!=2.9.*"


class Dependencies:
    """The Python packages that the worker needs, installed into Slicer's Python."""

    def areInstalled(self) -> bool:
        """Whether nothing is missing; asks and changes nothing."""
        from slicer.packaging import load_requirements, pip_check

        return _hasTorch() and pip_check(load_requirements(_REQUIREMENTS))

    def ensureInstalled(self) -> None:
        """Install the missing packages; Slicer asks the user first. Must be called on the main thread.

        :raises NotPossible: if the user refuses, or the installation fails.
        """
        try:
            _ensurePackages()
            if not _hasTorch():
                _installTorch()
        except subprocess.CalledProcessError as error:
            raise NotPossible(
                _("The installation of Python packages failed (pip ended with {code}; its messages are in the Python "
                  "console). Check the network and the free disk space, and try again.").format(code=error.returncode)
            ) from error  # fmt: skip


def _ensurePackages() -> None:
    from slicer.packaging import load_requirements, pip_ensure

    try:
        pip_ensure(load_requirements(_REQUIREMENTS), requester=_NAME)
    except RuntimeError as error:  # how Slicer says that the user refused
        raise NotPossible(
            _("Similar cases cannot be searched without the missing Python packages. Press the button again to "
              "install them.")
        ) from error  # fmt: skip


def _hasTorch() -> bool:
    # Looked up and not imported: PyTorch must not be loaded into Slicer's own process.
    try:
        importlib.metadata.version("torch")
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _installTorch() -> None:
    """PyTorch comes through the extension of that name, which picks the build that fits the graphics card."""
    try:
        import PyTorchUtils
    except ImportError as error:
        raise NotPossible(
            _("PyTorch is not installed. Install the extension PyTorch with the Extensions Manager, restart Slicer, "
              "and try again.")
        ) from error  # fmt: skip
    installed = PyTorchUtils.PyTorchUtilsLogic().installTorch(askConfirmation=True, torchVersionRequirement=_TORCH)
    if installed is None:
        raise NotPossible(_("Similar cases cannot be searched without PyTorch. Press the button again to install it."))
