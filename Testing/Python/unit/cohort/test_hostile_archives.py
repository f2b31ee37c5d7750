"""A bad case is named with its file and reason, and never stops the others."""

import gzip
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from TumorRetrievalLib.cohort.importers.archive import import_archive, list_archive
from TumorRetrievalLib.cohort.importers.brats_names import collection_of, parse_file_name, patient_of
from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, write_labels
from TumorRetrievalLib.imaging.nifti import write_nifti
from TumorRetrievalLib.imaging.volume import LabelMap

SHAPE = (7, 6, 5)


def reasons(archive) -> str:
    return " | ".join(f"{problem.path.name}: {problem.reason}" for problem in archive.problems)


def truncated(folder):
    path = folder / "t1c.nii.gz"
    path.write_bytes(path.read_bytes()[:-30])


def gone(folder):
    (folder / "t1c.nii.gz").unlink()


def no_nifti(folder):
    (folder / "flair.nii.gz").write_text("<html>404</html>")


def shape_of_mask(folder):
    write_labels(folder / "seg.nii.gz", LabelMap(np.ones((4, 4, 4), np.uint8), np.eye(4)))


def place_of_mask(folder):
    mask = read_labels(folder / "seg.nii.gz")
    write_labels(folder / "seg.nii.gz", LabelMap(mask.data, mask.affine + _shift(3.0)))


def _shift(mm) -> np.ndarray:
    shift = np.zeros((4, 4))
    shift[0, 3] = mm
    return shift


def place_of_flair(folder):
    write_nifti(folder / "flair.nii.gz", _numbers(), np.eye(4) + _shift(900.0), compressed=True)


def affine_not_a_number(folder):
    affine = np.eye(4)
    path = folder / "t1c.nii.gz"
    write_nifti(path, _numbers(), affine, compressed=False)
    content = bytearray(path.read_bytes())
    content[280:284] = np.float32(np.nan).tobytes()  # srow_x[0]
    path.write_bytes(content)


def four_dimensions(folder):
    path = folder / "t1c.nii.gz"
    write_nifti(path, _numbers(), np.eye(4), compressed=False)
    content = bytearray(path.read_bytes())
    content[40:50] = np.array([4, 7, 6, 5, 2], np.int16).tobytes()
    path.write_bytes(bytes(content) + content[352:])


def bomb(folder):
    """A few kilobytes that unpack to megabytes, behind a header that promises a small image."""
    path = folder / "t1c.nii.gz"
    whole = gzip.decompress(path.read_bytes())
    with gzip.open(path, "wb") as file:
        file.write(whole)
        file.write(bytes(2**22))


def nothing_shown(folder):
    write_nifti(folder / "t1c.nii.gz", np.zeros(SHAPE, np.float32), np.eye(4), compressed=True)


def empty_mask(folder):
    mask = read_labels(folder / "seg.nii.gz")
    write_labels(folder / "seg.nii.gz", LabelMap(mask.data * 0, mask.affine))


def probabilities_as_mask(folder):
    write_nifti(folder / "seg.nii.gz", _numbers() / 1000, np.eye(4), compressed=True)


def strange_labels(folder):
    mask = read_labels(folder / "seg.nii.gz")
    write_labels(folder / "seg.nii.gz", LabelMap(np.where(mask.data == 2, 9, mask.data), mask.affine))


def two_scans(folder):
    (folder / "t1ce.nii").write_bytes(b"x")
    (folder / "seg.nii").write_bytes(b"x")
    (folder / "other-seg.nii").write_bytes(b"x")


def dangling_link(folder):
    (folder / "t1c.nii.gz").unlink()
    (folder / "t1c.nii.gz").symlink_to(folder / "nothing")


def a_pipe(folder):
    (folder / "t1c.nii.gz").unlink()
    os.mkfifo(folder / "t1c.nii.gz")


def _numbers() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 900, SHAPE).astype(np.float32)


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (truncated, "t1c.nii.gz is truncated"),
        (gone, "has no T1 with contrast"),
        (no_nifti, "flair.nii.gz is not a NIfTI file"),
        (shape_of_mask, "lies elsewhere than the scan"),
        (place_of_mask, "lies elsewhere than the scan"),
        (place_of_flair, "lies elsewhere in the world"),
        (affine_not_a_number, "affine must be"),
        (four_dimensions, "4 dimensions"),
        (bomb, "far more than its header says"),
        (nothing_shown, "shows nothing"),
        (empty_mask, "marks nothing"),
        (probabilities_as_mask, "holds whole numbers"),
        (strange_labels, "The labels 1, 9 do not fit"),
        (two_scans, "several files for its"),
        (dangling_link, "does not exist"),
        (a_pipe, "is not a file"),
    ],
)
def test_a_bad_case_is_named_and_the_good_one_comes_through(archive_folder, damage, reason):
    archive_folder.case("BraTS-GLI-00000-000")
    damage(archive_folder.case("BraTS-GLI-00001-000"))

    archive = list_archive(archive_folder.path)

    assert [case.id for case in archive.cases] == ["BraTS-GLI-00000-000"]
    assert len({problem.path for problem in archive.problems}) == 1
    assert reason in reasons(archive)
    assert "BraTS-GLI-00001-000" in str(archive.problems[0].path)


def test_two_cases_of_one_name_do_not_become_one(archive_folder):
    first = archive_folder.case("HGG/Brats18_2013_2_1", labels=(1, 2, 4))
    archive_folder.case("LGG/Brats18_2013_2_1", labels=(1, 2, 4))

    archive = list_archive(archive_folder.path)

    assert [case.t1c.parent for case in archive.cases] == [first]
    assert "a case of the same name" in reasons(archive)


def test_follow_ups_are_one_patient(archive_folder):
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00000-001", "BraTS-GLI-00001-000"):
        archive_folder.case(name)

    archive = list_archive(archive_folder.path)

    assert [case.patient for case in archive.cases] == ["BraTS-GLI-00000", "BraTS-GLI-00000", "BraTS-GLI-00001"]


def test_links_in_circles_end(archive_folder):
    folder = archive_folder.case("BraTS-GLI-00000-000")
    (folder / "up").symlink_to(archive_folder.path)
    (folder / "again").symlink_to(folder)

    archive = list_archive(archive_folder.path)

    assert len(archive.cases) == 1
    assert archive.problems == ()


def test_an_archive_of_links_is_an_archive(archive_folder, tmp_path):
    folder = archive_folder.case("BraTS-GLI-00000-000")
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / folder.name).symlink_to(folder)

    assert [case.id for case in list_archive(tmp_path / "links").cases] == ["BraTS-GLI-00000-000"]


@pytest.mark.parametrize("name", ["Søren Ångström, 脳腫瘍", "x" * 200, "with 'quotes\" & <tags>", "-rf"])
def test_a_strange_name_is_a_name(archive_folder, name):
    archive_folder.case(name)

    archive = list_archive(archive_folder.path)

    assert [(case.id, case.patient) for case in archive.cases] == [(name, name)]
    assert any("follows no known collection" in note for note in archive.notes)


@pytest.mark.parametrize("name", [b"line\nbreak", b"not utf-8 \xff"])
def test_a_name_that_is_no_text_is_a_problem(archive_folder, name):
    archive_folder.case("good")
    os.mkdir(os.fsencode(archive_folder.path) + b"/" + name)

    archive = list_archive(archive_folder.path)

    assert [case.id for case in archive.cases] == ["good"]
    assert "no text" in reasons(archive)


def test_hidden_files_and_other_sequences_are_passed_over(archive_folder):
    folder = archive_folder.case("BraTS-GLI-00000-000")
    for name in ("._t1c.nii.gz", "t1n.nii.gz", "t2w.nii.gz", "notes.txt", "survival.csv"):
        (folder / name).write_bytes(b"x")

    archive = list_archive(archive_folder.path)

    assert (len(archive.cases), archive.problems) == (1, ())


def test_a_flat_folder_is_grouped_by_what_stands_before_the_role(archive_folder):
    for name in ("BraTS-GLI-00000-000", "BraTS-GLI-00001-000"):
        folder = archive_folder.case(
            name, t1c=f"{name}-t1c.nii.gz", flair=f"{name}-t2f.nii.gz", mask=f"{name}-seg.nii.gz"
        )
        for path in folder.iterdir():
            path.rename(archive_folder.path / path.name)
        folder.rmdir()

    archive = list_archive(archive_folder.path)

    assert [case.id for case in archive.cases] == ["BraTS-GLI-00000-000", "BraTS-GLI-00001-000"]
    assert all(case.id in path.name for case in archive.cases for path in (case.t1c, case.flair, case.mask))


def test_the_folder_of_one_case_is_an_archive(archive_folder):
    folder = archive_folder.case("BraTS-MET-00110-000")

    assert [case.id for case in list_archive(folder).cases] == ["BraTS-MET-00110-000"]


def test_pediatric_labels_that_changed_are_not_guessed(archive_folder):
    archive_folder.case("BraTS-PED-00001-000", labels=(1, 2, 3))

    alone = list_archive(archive_folder.path)
    archive_folder.case("BraTS-PED-00002-000", labels=(1, 2, 3, 4))
    settled = list_archive(archive_folder.path)

    assert alone.cases == ()
    assert "mean different things" in reasons(alone) and "mask_scheme" in reasons(alone)
    assert [case.mask_labels.core for case in settled.cases] == [(1, 2, 3)] * 2


def test_four_labels_without_a_known_name_are_not_guessed(archive_folder):
    archive_folder.case("patient 7", labels=(1, 2, 3, 4))

    archive = list_archive(archive_folder.path)

    assert archive.cases == ()
    assert "BraTS 2013-2016 and BraTS 2024" in reasons(archive)


def test_a_folder_that_cannot_be_read_is_named(archive_folder):
    """In a process without a superuser's rights, which no folder refuses."""
    archive_folder.case("good")
    archive_folder.case("locked")
    script = """
        import os, sys
        from TumorRetrievalLib.cohort.importers.archive import list_archive
        from TumorRetrievalLib.cohort.importers.folders import Walk
        import nibabel.nifti1, nibabel.nifti2, nibabel.spatialimages
        if os.getuid() == 0:
            os.setgroups([]); os.setgid(65534); os.setuid(65534)
        archive = list_archive(sys.argv[1])
        print([case.id for case in archive.cases], archive.problems)
    """
    for parent in (archive_folder.path, *archive_folder.path.parents[:5]):
        if parent.stat().st_uid == os.getuid():
            parent.chmod(parent.stat().st_mode | 0o055)
    (archive_folder.path / "locked").chmod(0)
    try:
        run = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(script), str(archive_folder.path)], capture_output=True, text=True
        )
    finally:
        (archive_folder.path / "locked").chmod(0o755)

    assert run.returncode == 0, run.stderr
    assert "['good']" in run.stdout
    assert "locked" in run.stdout and "Permission denied" in run.stdout


def test_progress_is_told_and_can_stop_the_work(archive_folder):
    for number in range(3):
        archive_folder.case(f"case {number}")
    told = []

    list_archive(archive_folder.path, progress=lambda share, words: told.append((share, words)))

    assert told[-1] == (1.0, "3 of 3 cases read")

    def stop(share, words):
        raise InterruptedError

    with pytest.raises(InterruptedError):
        list_archive(archive_folder.path, progress=stop)


def test_importing_folders_writes_nothing(archive_folder, tmp_path):
    archive_folder.case("case")

    archive = import_archive(archive_folder.path, tmp_path / "into", salt_file=tmp_path / "salt")

    assert archive == list_archive(archive_folder.path)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["archive"]


@pytest.mark.parametrize("name", ["nothing", "file.zip"])
def test_what_is_no_folder_is_no_archive(tmp_path, name):
    (tmp_path / "file.zip").touch()

    with pytest.raises(UnreadableFile, match="is no archive"):
        list_archive(tmp_path / name)


# Properties


@given(st.text(min_size=1))
def test_every_name_has_a_collection_and_a_patient(name):
    assert patient_of(name) == name or collection_of(name).title != "no known collection"
    parse_file_name(name)


DAMAGES = [None, truncated, gone, empty_mask, shape_of_mask, strange_labels, no_nifti]
NAMES = ["BraTS-GLI-00000-000", "BraTS-MEN-00001-000", "BraTS2021_00003", "own"]


@given(st.dictionaries(st.sampled_from(NAMES), st.sampled_from(DAMAGES), min_size=1))
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_every_case_is_either_listed_or_a_problem(tmp_path_factory, archive_folder, plan):
    archive_folder.path = tmp_path_factory.mktemp("archive")
    archive_folder.case("always")
    for name, damage in plan.items():
        folder = archive_folder.case(name)
        if damage is not None:
            damage(folder)

    archive = list_archive(archive_folder.path)

    bad = {name for name, damage in plan.items() if damage is not None}
    assert {case.id for case in archive.cases} == {"always", *plan} - bad
    assert {problem.path.relative_to(archive_folder.path).parts[0] for problem in archive.problems} == bad
