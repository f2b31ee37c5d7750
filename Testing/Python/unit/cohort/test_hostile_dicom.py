"""Hostile DICOM files: each is named with its reason, and the good study beside it comes through."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.importers.archive import list_archive
from TumorRetrievalLib.errors import UnreadableFile


def reasons(archive) -> str:
    return " | ".join(problem.reason for problem in archive.problems)


def damage_truncated(folder):
    folder.series("bad", study="2", **folder.T1C)
    path = folder.path / "bad" / "001.dcm"
    path.write_bytes(path.read_bytes()[:-20])


def damage_no_dicom(folder):
    folder.series("bad", study="2", **folder.T1C)
    (folder.path / "bad" / "001.dcm").write_bytes(b"no DICOM at all")


def damage_last_slice(folder):
    folder.series("bad", study="2", **folder.T1C)
    (folder.path / "bad" / "003.dcm").write_bytes(b"no DICOM at all")


def damage_header(folder):
    folder.series("bad", study="2", **folder.T1C)
    (folder.path / "bad" / "003.dcm").write_bytes(bytes(128) + b"DICM" + b"\xff" * 300)


def two_patients(folder):
    folder.series("bad", study="2", PatientID="A", **folder.T1C)
    folder.series("worse", study="2", PatientID="B", **folder.FLAIR)


def four_dimensional(folder):
    slices = folder.series("bad", study="2", **folder.T1C)
    folder.series("bad", study="2", names="t{}.dcm", SeriesInstanceUID=slices[0].SeriesInstanceUID, **folder.T1C)


def many_frames(folder):
    folder.series("bad", study="2", NumberOfFrames=3, **folder.T1C)


def burned_in(folder):
    folder.series("bad", study="2", BurnedInAnnotation="YES", **folder.T1C)


def flair_elsewhere(folder):
    folder.series("bad", study="2", **folder.T1C)
    folder.series("worse", study="2", axes=np.diag((-1, -1, 1)), seed=1, **folder.FLAIR)


def seg_damaged(folder):
    drawn_on = folder.series("bad", study="2", **folder.T1C)
    path = folder.seg("bad/seg.dcm", drawn_on, folder.segments())
    path.write_bytes(path.read_bytes()[:-60])


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (damage_truncated, "truncated"),
        (damage_no_dicom, "damaged or not DICOM"),
        (damage_last_slice, "A damaged file lies among the slices"),
        (damage_header, "A damaged file lies among the slices"),
        (two_patients, "said to be of 2 patients"),
        (four_dimensional, "several images at one place"),
        (many_frames, "many frames"),
        (burned_in, "text in its pixels"),
        (flair_elsewhere, "lies elsewhere"),
        (seg_damaged, "seg.dcm"),
    ],
)
def test_a_bad_study_is_named_and_the_good_one_comes_through(dicom_folder, imported, damage, reason):
    dicom_folder.series("good", **dicom_folder.T1C)
    damage(dicom_folder)

    archive = imported()

    assert len(archive.cases) == 1
    assert reason in reasons(archive)
    assert all(problem.path.is_relative_to(dicom_folder.path) for problem in archive.problems)


@pytest.mark.parametrize("tag", ["SOPInstanceUID", "SeriesInstanceUID", "StudyInstanceUID"])
def test_a_file_that_belongs_to_nothing_is_named_with_the_tag_that_it_lacks(dicom_folder, imported, tag):
    dicom_folder.series("good", **dicom_folder.T1C)
    slices = dicom_folder.series("bad", study="2", **dicom_folder.T1C)
    for number, data in enumerate(slices):
        delattr(data, tag)
        data.save_as(dicom_folder.path / "bad" / f"{number:03d}.dcm", enforce_file_format=True)

    archive = imported()

    assert len(archive.cases) == 1
    assert f"lacks {tag}" in reasons(archive)


def test_a_dicomdir_is_passed_over(dicom_folder, imported):
    from pydicom.fileset import FileSet

    slices = dicom_folder.series("a", **dicom_folder.T1C)
    directory = FileSet()
    for data in slices:
        directory.add(data)
    directory.write(dicom_folder.path / "disc")

    archive = imported()

    assert len(archive.cases) == 1
    assert archive.problems == ()


def test_a_damaged_segmentation_is_read_or_refused_but_never_a_traceback(dicom_folder):
    rng = np.random.default_rng(7)
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    path = dicom_folder.seg("a/seg.dcm", drawn_on, dicom_folder.segments())
    whole = path.read_bytes()
    for _ in range(40):
        content = bytearray(whole[: rng.integers(200, len(whole) + 1)])
        for place in rng.integers(132, len(content), 4):
            content[place] = rng.integers(0, 256)
        path.write_bytes(content)

        archive = list_archive(dicom_folder.path)

        assert archive.cases or archive.problems


def test_a_segmentation_that_spans_kilometres_is_refused_before_memory_is_asked_for(dicom_folder, imported):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    path = dicom_folder.seg("a/seg.dcm", drawn_on, dicom_folder.segments())
    import pydicom

    data = pydicom.dcmread(path)
    data.PerFrameFunctionalGroupsSequence[-1].PlanePositionSequence[0].ImagePositionPatient = [-20, -30, 3e9]
    data.save_as(path)

    archive = imported()

    assert archive.cases == ()
    assert "million voxels" in reasons(archive) or "regular slices" in reasons(archive)


def test_a_folder_with_nothing_in_it_is_no_archive(tmp_path):
    with pytest.raises(UnreadableFile, match="holds no cases"):
        list_archive(tmp_path)
