"""The extension is configured and installed with CMake, against a small stand-in of Slicer's macros."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
STAND_IN = Path(__file__).resolve().parent / "slicer_stand_in"
sys.path.insert(0, str(ROOT / "Testing"))
from update_cmake_lists import LISTS, listed  # noqa: E402

sys.path.pop(0)

MODULES = Path("lib/qt-scripted-modules")
"""Where Slicer keeps scripted modules, in a build and in an installation."""

# The extension has nothing to compile, so no compiler is needed to see where its files go.
NEVER_CALLED = [
    f"-DCMAKE_{name}={value}"
    for language in ("C", "CXX")
    for name, value in ((f"{language}_COMPILER", sys.executable), (f"{language}_COMPILER_FORCED", "TRUE"))
] + [f"-DCMAKE_MAKE_PROGRAM={sys.executable}"]


def run(*command, cwd=None) -> subprocess.CompletedProcess:
    return subprocess.run([str(part) for part in command], capture_output=True, text=True, check=False, cwd=cwd)


@pytest.fixture(scope="module")
def cmake() -> str:
    """The CMake of the environment, or of the system."""
    found = shutil.which("cmake", path=Path(sys.executable).parent) or shutil.which("cmake")
    if found is None:
        pytest.skip("NOT TESTED: how the extension is packaged. There is no cmake: `pip install cmake` brings one.")
    return found


def configure(cmake: str, source: Path, build: Path) -> subprocess.CompletedProcess:
    generator = ["-G", "Unix Makefiles", *NEVER_CALLED] if os.name != "nt" else []
    return run(cmake, "-S", source, "-B", build, f"-DSlicer_DIR={STAND_IN}", *generator)


@pytest.fixture(scope="module")
def build(cmake, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("build")
    told = configure(cmake, ROOT, folder)
    assert told.returncode == 0, told.stderr
    return folder


@pytest.fixture(scope="module")
def installed(cmake, build, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("installed")
    told = run(cmake, "--install", build, "--prefix", folder)
    assert told.returncode == 0, told.stderr
    return folder


def everything_listed() -> set[str]:
    return {
        path
        for file, names in LISTS.items()
        for name in names
        for path in listed(name, (ROOT / file).read_text(encoding="utf-8"))
    }


def files_in(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_a_build_holds_everything_beside_the_module(build):
    assert files_in(build / MODULES) == everything_listed()


def test_an_installation_holds_everything_beside_the_module(installed):
    assert files_in(installed / MODULES) == everything_listed()
    assert (installed / MODULES / "TumorRetrieval.py").is_file()
    assert files_in(installed) == {f"{MODULES.as_posix()}/{path}" for path in everything_listed()}


def test_the_installed_library_finds_its_data_and_the_worker_starts_from_there(installed, tmp_path):
    place = (installed / MODULES).resolve()
    code = (
        "import sys; sys.path.insert(0, sys.argv[1])\n"
        "from TumorRetrievalLib.resources import resource\n"
        "from TumorRetrievalLib.retrieval.case_index import CaseIndex\n"
        "import TumorRetrievalLib.worker.server\n"
        "print(resource('Atlas', 'mni152_t1.nii.gz'), len(CaseIndex.open(resource('Index'))))"
    )
    told = run(sys.executable, "-c", code, place, cwd=tmp_path)

    assert told.returncode == 0, told.stderr
    path, tumors = told.stdout.rsplit(maxsplit=1)
    assert Path(path).is_relative_to(place) and int(tumors) > 1000


def test_a_file_listed_with_two_dots_would_not_be_installed(cmake, tmp_path):
    """The reason why the library is registered in the root's CMakeLists.txt; and this stand-in shows the mistake."""
    (tmp_path / "Module").mkdir()
    for path in ("library.py", "Module/Module.py"):
        (tmp_path / path).touch()
    (tmp_path / "CMakeLists.txt").write_text(
        "cmake_minimum_required(VERSION 3.16...3.19)\nproject(Example)\nfind_package(Slicer REQUIRED)\n"
        "include(${Slicer_USE_FILE})\nadd_subdirectory(Module)\n"
    )
    (tmp_path / "Module" / "CMakeLists.txt").write_text(
        "slicerMacroBuildScriptedModule(NAME Module SCRIPTS Module.py ../library.py)\n"
    )
    told = configure(cmake, tmp_path, tmp_path / "build")
    assert told.returncode == 0, told.stderr
    run(cmake, "--install", tmp_path / "build", "--prefix", tmp_path / "installed")

    assert files_in(tmp_path / "build" / MODULES) == {"Module.py"}
    assert files_in(tmp_path / "installed" / MODULES) == {"Module.py"}
