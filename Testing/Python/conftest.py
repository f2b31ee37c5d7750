"""What all tests share: where the real scans are, and which kind of test a folder holds."""

from pathlib import Path

import pytest
from hypothesis import settings

# Machines that run tests are shared, and the first example pays for imports: time limits there only cry wolf.
settings.register_profile("shared machine", deadline=None)
settings.load_profile("shared machine")

_HERE = Path(__file__).resolve().parent
_REAL_DATA = _HERE.parents[2] / "shared" / "data"
_MARKED_FOLDERS = ("unit", "data", "scene", "gui")


def pytest_collection_modifyitems(items):
    """A test's folder says its kind: everything in `unit` is marked `unit`, and so on."""
    for item in items:
        if _HERE in item.path.parents and (kind := item.path.relative_to(_HERE).parts[0]) in _MARKED_FOLDERS:
            item.add_marker(kind)


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real scans beside the project; tests that need it are skipped where it is absent."""
    if not _REAL_DATA.is_dir():
        pytest.skip(f"the real scans are not here: there is no folder {_REAL_DATA}")
    return _REAL_DATA


@pytest.fixture(scope="session", autouse=True)
def cache_of_these_tests(tmp_path_factory):
    """Scans that are made again go to a folder of the tests, not of the user."""
    patch = pytest.MonkeyPatch()
    patch.setenv("TUMOR_RETRIEVAL_CACHE", str(tmp_path_factory.mktemp("cache")))
    yield
    patch.undo()
