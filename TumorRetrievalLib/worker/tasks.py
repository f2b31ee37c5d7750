"""Which tasks a worker can do: names and functions."""

import contextlib
import runpy
from collections.abc import Callable

from TumorRetrievalLib.errors import MissingPackage

Progress = Callable[[float, str], None]
Task = Callable[[dict, Progress], dict]
"""Given the request's arguments and a function to report progress to, returns what can be said in JSON."""


def engine_tasks() -> dict[str, Task]:
    """The user's tasks. Takes seconds: it loads PyTorch.

    :raises MissingPackage: if a package that they need is not installed, or cannot be loaded.
    """
    try:
        # The wheels of faiss and torch bring an OpenMP runtime each; in this order they get along in one process.
        # Without faiss the index is searched with NumPy.
        with contextlib.suppress(ImportError):
            import faiss  # noqa: F401
        from TumorRetrievalLib.worker.engine_tasks import TASKS
    except (ImportError, OSError) as error:
        raise MissingPackage(
            f"A Python package that the search needs cannot be loaded ({error}). Install it again, or repair it with: "
            "python -m pip install --force-reinstall torch"
        ) from error
    return TASKS


def tasks_of_file(path: str) -> dict[str, Task]:
    """The tasks of a Python file that defines `TASKS`."""
    return runpy.run_path(path)["TASKS"]
