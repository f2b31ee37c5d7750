"""The files of the project: small, listed where they must be, and free of traces of any one machine."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[4]
sys.path.insert(0, str(ROOT / "Testing"))
from update_checksums import wanted_lists  # noqa: E402
from update_cmake_lists import LISTS, listed, wanted  # noqa: E402

sys.path.pop(0)

PLACES = ("TumorRetrieval", "TumorRetrievalLib", "Testing", "Resources", ".ci")
TEXT = {".py", ".md", ".toml", ".txt", ".cmake", ".json", ".csv", ".css", ".j2", ".ui", ".cfg", ".yml", ""}
LONGEST = 400
LARGEST_MB = 100

MACHINE_PATH = re.compile(r"(?<![\w.$}])/(work|farm|root|home/\w+|Users/\w+)/")


def project_files() -> list[Path]:
    nested = [path for place in PLACES for path in (ROOT / place).rglob("*") if path.is_file()]
    files = [path for path in ROOT.iterdir() if path.is_file()] + nested
    return sorted(path for path in files if not {"__pycache__", ".ruff_cache"} & set(path.parts))


def test_no_python_file_is_longer_than_one_idea():
    lengths = {path: len(path.read_text("utf-8").splitlines()) for path in project_files() if path.suffix == ".py"}

    assert {path.relative_to(ROOT).as_posix(): n for path, n in lengths.items() if n > LONGEST} == {}


def test_no_text_names_a_folder_of_one_machine():
    found = {
        path.relative_to(ROOT).as_posix(): match[0]
        for path in project_files()
        if path.suffix in TEXT and path.stat().st_size < 1_000_000 and path != Path(__file__)
        for match in [MACHINE_PATH.search(path.read_text("utf-8", errors="replace"))]
        if match
    }

    assert found == {}


def test_the_whole_project_stays_below_what_slicers_catalogue_takes():
    assert sum(path.stat().st_size for path in project_files()) < LARGEST_MB * 1e6


@pytest.mark.parametrize(("file", "name"), [(file, name) for file, names in LISTS.items() for name in names])
def test_cmake_lists_exactly_the_files_that_are_there(file, name):
    """Run `python Testing/update_cmake_lists.py` when this fails."""
    assert listed(name, (ROOT / file).read_text(encoding="utf-8")) == wanted(name)


def test_a_file_missing_from_a_cmake_list_is_noticed(tmp_path):
    (tmp_path / "TumorRetrievalLib").mkdir()
    (tmp_path / "Resources").mkdir()
    (tmp_path / "TumorRetrievalLib" / "new.py").touch()
    (tmp_path / "Resources" / "new.json").touch()

    assert wanted("LIBRARY_SCRIPTS", tmp_path) == ["TumorRetrievalLib/new.py"]
    assert wanted("LIBRARY_RESOURCES", tmp_path) == ["Resources/new.json"]


def test_every_bundled_file_is_listed_with_its_checksum():
    """Run `python Testing/update_checksums.py` when this fails, and look at what it changes."""
    lists = wanted_lists()

    assert {path: path.read_text("utf-8") for path in (ROOT / "Resources").rglob("SHA256SUMS")} == lists
