"""The patient of the moment becomes a known case: copied, shown again, removed without a trace."""

import os

import nibabel
import numpy as np
import pytest

from TumorRetrievalLib.engine.add_patient import NewCase, add_patient
from TumorRetrievalLib.engine.archive import ReadWith, build_archive_index
from TumorRetrievalLib.engine.copied_scans import problem_with_id
from TumorRetrievalLib.engine.index_care import remove_cases
from TumorRetrievalLib.engine.known_cases import load_known_case
from TumorRetrievalLib.errors import Cancelled, CannotWrite, CaseAlreadyIndexed, InvalidRequest, UnreadableFile
from TumorRetrievalLib.retrieval.case_index import CaseIndex
from TumorRetrievalLib.worker.index_tasks import index_add_patient, index_stats

from .small_archive import MODEL, use_stand_in, write_case

HERE = ReadWith(workers=1)


@pytest.fixture(autouse=True)
def _read_by_the_stand_in(monkeypatch):
    use_stand_in(monkeypatch.setattr)


@pytest.fixture
def files(tmp_path):
    """A scan that names its patient in its header, and its mask: core in oedema."""
    rng = np.random.default_rng(7)
    scan = nibabel.Nifti1Image(rng.uniform(1, 2, (8, 8, 8)).astype(np.float32), np.eye(4))
    scan.header["descrip"] = b"DOE^JANE"
    nibabel.save(scan, tmp_path / "scene-t1c.nii")
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[1:6, 1:6, 1:6] = 2
    labels[2:5, 2:5, 2:5] = 1
    nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), tmp_path / "scene-mask.nii")
    return {"t1c": tmp_path / "scene-t1c.nii", "mask": tmp_path / "scene-mask.nii"}


@pytest.fixture
def index(tmp_path):
    """An index of one case."""
    write_case(tmp_path / "archive", "one")
    build_archive_index(tmp_path / "archive", tmp_path / "index", HERE)
    return tmp_path / "index"


def bytes_below(folder):
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_a_patient_is_copied_into_the_index_and_shown_after_the_files_are_gone(index, files):
    result = add_patient(index, NewCase("p-1", "P1", **files, mask_origin="expert"), HERE)
    for path in files.values():
        path.unlink()

    assert result["added"] == ["p-1"] and result["index"]["cases"] == 2
    with CaseIndex.open(index, MODEL) as opened:
        case = opened.get("p-1")
        shown = load_known_case(case)
    assert case.patient == "P1" and case.mask_origin == "expert" and case.t1c.is_relative_to(index)
    assert int(shown.core.data.sum()) == 27 and int(shown.whole.data.sum()) == 125


def test_no_text_of_the_given_files_comes_along(index, files):
    add_patient(index, NewCase("p-1", "P1", **files), HERE)

    assert not any(b"DOE^JANE" in content for content in bytes_below(index).values())
    assert b"DOE^JANE" not in nibabel.load(index / "scans" / "p-1" / "t1c.nii.gz").header["descrip"].tobytes()


def test_several_patients_of_one_index_lie_in_one_archive_that_moves_with_it(index, files, tmp_path):
    add_patient(index, NewCase("p-1", "P1", **files), HERE)
    index.rename(tmp_path / "moved")
    with CaseIndex.open(tmp_path / "moved", MODEL) as opened:
        assert "scans" in opened.roots() and load_known_case(opened.get("p-1")).t1c is not None


def test_the_first_patient_makes_the_index(tmp_path, files):
    result = add_patient(tmp_path / "new" / "index", NewCase("p-1", "P1", **files), HERE)

    assert result["index"]["cases"] == 1


@pytest.mark.parametrize("case_id", ["one", "ONE"])
def test_an_id_that_is_taken_is_refused_and_nothing_is_changed(index, files, case_id):
    before = bytes_below(index)
    with pytest.raises(CaseAlreadyIndexed, match="one"):
        add_patient(index, NewCase(case_id, "P1", **files), HERE)

    assert bytes_below(index) == before


@pytest.mark.parametrize("case_id", ["", " ", "../one", "a/b", "a\\b", ".hidden", "nul\0", "x" * 81, "p:1", "end."])
def test_an_id_that_could_leave_the_folder_is_refused(index, files, case_id):
    assert problem_with_id(case_id)
    with pytest.raises(InvalidRequest):
        add_patient(index, NewCase(case_id, "P1", **files), HERE)


def test_an_id_in_any_script_can_be_used(index, files):
    assert add_patient(index, NewCase("Fall-Ä.1_b", "Пациент", **files), HERE)["added"] == ["Fall-Ä.1_b"]


def test_a_scan_that_is_there_under_another_name_leaves_no_copy(index, files):
    add_patient(index, NewCase("p-1", "P1", **files), HERE)
    result = add_patient(index, NewCase("p-2", "P1", **files), HERE)

    assert result["added"] == [] and "p-1" in result["problems"][0]["reason"]
    assert sorted(path.name for path in (index / "scans").iterdir()) == ["p-1"]


def test_a_case_that_cannot_be_read_leaves_no_copy(index, files):
    result = add_patient(index, NewCase("bad", "P1", **files), HERE)

    assert result["added"] == [] and not list(index.glob("scans/*"))


@pytest.mark.parametrize("step", ["Copying", "Writing"])
def test_cancelled_at_any_step_it_leaves_no_copy(index, files, step):
    def stop(fraction, message):
        if step in message and (step == "Writing" or fraction > 0):
            raise Cancelled("Stopped.")

    with pytest.raises(Cancelled):
        add_patient(index, NewCase("p-1", "P1", **files), HERE, stop)

    assert not list(index.glob("scans/*"))
    with CaseIndex.open(index, MODEL) as opened:
        assert opened.case_ids() == ["one"]


def test_what_a_killed_attempt_has_left_is_written_anew(index, files):
    (index / "scans" / "p-1").mkdir(parents=True)
    (index / "scans" / "p-1" / "t1c.nii.gz").write_bytes(b"half a file")

    assert add_patient(index, NewCase("p-1", "P1", **files), HERE)["added"] == ["p-1"]


def test_removing_the_case_erases_its_copies(index, files):
    add_patient(index, NewCase("p-1", "PATIENT-77", **files), HERE)
    remove_cases(index, ["p-1"])

    assert not list(index.glob("scans/*"))
    assert not any(b"PATIENT-77" in content or b"p-1" in content for content in bytes_below(index).values())


@pytest.mark.parametrize("how", ["add", "build"])
def test_files_of_somebody_else_are_never_taken_for_copies(tmp_path, files, how):
    write_case(tmp_path / "study" / "scans", "mine")
    before = bytes_below(tmp_path / "study")
    with pytest.raises(CannotWrite, match="empty folder"):
        if how == "add":
            add_patient(tmp_path / "study", NewCase("mine", "P1", **files), HERE)
        else:
            build_archive_index(tmp_path / "study" / "scans", tmp_path / "study", HERE)

    assert bytes_below(tmp_path / "study") == before


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write everywhere")
def test_a_folder_without_permission_is_told(tmp_path, files):
    tmp_path.chmod(0o500)
    with pytest.raises(CannotWrite):
        add_patient(tmp_path / "index", NewCase("p-1", "P1", **files), HERE)
    tmp_path.chmod(0o700)


def test_a_file_in_the_place_of_the_folder_is_told(tmp_path, files):
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(CannotWrite, match="another folder"):
        add_patient(tmp_path / "file", NewCase("p-1", "P1", **files), HERE)


def test_the_worker_takes_what_the_panel_gives(index, files, monkeypatch):
    taken = []
    monkeypatch.setattr("TumorRetrievalLib.worker.index_tasks.add_patient", lambda *given: taken.append(given) or {})
    paths = {name: str(path) for name, path in files.items()}
    given = {"index": str(index), "case": "p-1", "patient": "P1", **paths, "type": "glioma", "mask_origin": "expert"}
    index_add_patient(given, None)

    assert taken[0][1] == NewCase("p-1", "P1", **files, type="glioma", mask_origin="expert")
    for wrong in ({"type": "pain"}, {"mask_origin": "me"}, {"t1c": 3}, {"more": 1}):
        with pytest.raises(InvalidRequest):
            index_add_patient({**given, **wrong}, None)


def test_without_a_folder_the_worker_tells_of_the_bundled_index():
    assert index_stats({}, None)["cases"] > 0


def test_no_scan_means_no_case(index, files):
    files["t1c"].unlink()
    with pytest.raises(UnreadableFile):
        add_patient(index, NewCase("p-1", "P1", **files), HERE)

    assert not list(index.glob("scans/*"))
