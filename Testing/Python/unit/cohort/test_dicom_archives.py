"""DICOM studies: the right series are found, and whatever is open or wrong is a problem with its place and reason."""

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from TumorRetrievalLib.cohort.importers.archive import import_archive, list_archive
from TumorRetrievalLib.errors import CannotWrite, UnreadableFile
from TumorRetrievalLib.imaging.files import read_labels, read_volume, write_labels
from TumorRetrievalLib.imaging.resample import resample_labels
from TumorRetrievalLib.imaging.volume import Grid, LabelMap

CORE = ((1, 2, 3), (1, 2, 2), (2, 2, 3))
OEDEMA = ((1, 3, 3), (2, 1, 1))


@pytest.fixture
def imported(dicom_folder, tmp_path):
    """A function that imports the folder of studies."""

    def run():
        return import_archive(dicom_folder.path, tmp_path / "copies", salt_file=tmp_path / "salt")

    return run


def reasons(archive) -> str:
    return " | ".join(problem.reason for problem in archive.problems)


def segments(folder):
    """Enhancing tumor and oedema of one SEG."""
    return [
        ("Enhancing", ("C113842", "NCIt", "Enhancing Lesion"), folder.marked(*CORE)),
        ("around it", "Edema", folder.marked(*OEDEMA)),
    ]


# A whole import


def test_a_study_becomes_nifti_files_that_lie_where_its_series_do(dicom_folder, imported):
    dicom_folder.series("t1c", **dicom_folder.T1C)
    dicom_folder.series("flair", seed=1, **dicom_folder.FLAIR)

    (case,) = imported().cases

    for ours, series in ((case.t1c, "t1c"), (case.flair, "flair")):
        theirs = read_volume(dicom_folder.path / series)
        assert np.array_equal(read_volume(ours).data, theirs.data)
        assert np.allclose(read_volume(ours).affine, theirs.affine, atol=1e-5)
    assert (case.mask, case.tumors) == (None, ())


def test_the_dry_run_says_what_the_import_does_and_writes_nothing(dicom_folder, imported, tmp_path):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, segments(dicom_folder))
    dicom_folder.series("b", study="2", SeriesDescription="localizer")
    before = sorted(tmp_path.rglob("*"))

    dry = list_archive(dicom_folder.path)
    untouched = sorted(tmp_path.rglob("*")) == before
    real = imported()

    assert untouched
    assert dry.kind == real.kind == "dicom"
    assert dry.problems == real.problems
    assert [case.mask_labels for case in dry.cases] == [case.mask_labels for case in real.cases]
    (row,) = dry.as_report()["cases"]
    assert row["mask"].endswith("seg.dcm")
    assert "7: T1 MPRAGE post Gd" in row["provenance"]


def test_a_folder_may_mix_series_and_studies_and_a_patient_keeps_one_name(dicom_folder, imported):
    for study in ("1", "2"):
        dicom_folder.series("all", study=study, names=study + "t{}", **dicom_folder.T1C)
        dicom_folder.series("all", study=study, names=study + "f{}", seed=1, **dicom_folder.FLAIR)
    dicom_folder.series("all", study="3", names="3t{}", PatientID="other", **dicom_folder.T1C)

    archive = imported()

    assert archive.problems == ()
    assert len({case.id for case in archive.cases}) == 3
    assert len({case.patient for case in archive.cases}) == 2
    assert sum(case.flair is not None for case in archive.cases) == 2


def test_studies_without_a_patients_id_are_not_taken_for_one_patients(dicom_folder, imported):
    for study in ("1", "2"):
        dicom_folder.series(study, study=study, PatientID=None, **dicom_folder.T1C)

    assert len({case.patient for case in imported().cases}) == 2


def test_an_archive_anonymised_under_one_patients_id_is_noticed(dicom_folder):
    for study in range(5):
        dicom_folder.series(str(study), study=str(study), **dicom_folder.T1C)

    assert any("All 5 cases have one PatientID" in note for note in list_archive(dicom_folder.path).notes)


def test_copies_of_an_instance_count_once(dicom_folder, imported):
    slices = dicom_folder.series("a", **dicom_folder.T1C)
    (dicom_folder.path / "copy").mkdir()
    for number, data in enumerate(slices):
        data.save_as(dicom_folder.path / "copy" / str(number), enforce_file_format=True)

    archive = imported()

    assert archive.problems == ()
    assert read_volume(archive.cases[0].t1c).shape[2] == len(slices)


def test_what_was_imported_is_not_converted_again_but_what_is_gone_or_new_is(dicom_folder, imported):
    dicom_folder.series("a", **dicom_folder.T1C)
    (case,) = imported().cases
    written = case.t1c.stat().st_mtime_ns

    assert imported().cases == (case,)
    assert case.t1c.stat().st_mtime_ns == written

    case.t1c.unlink()
    assert imported().cases == (case,)
    assert case.t1c.exists()

    dicom_folder.series("b", seed=1, **dicom_folder.FLAIR)
    assert imported().cases[0].flair.exists()


def test_copies_do_not_go_into_the_archive_itself(dicom_folder, tmp_path):
    dicom_folder.series("a", **dicom_folder.T1C)

    with pytest.raises(CannotWrite, match="inside the archive"):
        import_archive(dicom_folder.path, dicom_folder.path / "copies", salt_file=tmp_path / "salt")


# Which series


@pytest.mark.parametrize(
    ("changes", "recognised"),
    [
        ({"SeriesDescription": "T1 post"}, True),
        ({"SeriesDescription": "AX T1 +C"}, True),
        ({"SeriesDescription": "t1_mprage_sag_km"}, True),
        ({"SeriesDescription": "T1C"}, True),
        ({"SeriesDescription": "T1 FLAIR post"}, True),
        ({"SeriesDescription": "MPRAGE", "ContrastBolusAgent": "Gadovist"}, True),
        ({"SeriesDescription": "T1 pre", "ContrastBolusAgent": "Gadovist"}, False),
        ({"SeriesDescription": "T1 nativ", "ContrastBolusAgent": "Gadovist"}, False),
        ({"SeriesDescription": "T1 w/o contrast"}, False),
        ({"SeriesDescription": "T1", "ContrastBolusAgent": "NONE"}, False),
        ({"SeriesDescription": "T1"}, False),
        ({"SeriesDescription": "T2 post"}, False),
        ({"SeriesDescription": "DWI post"}, False),
        ({"SeriesDescription": "FLAIR post"}, False),
        ({"SeriesDescription": "T1 post", "ImageType": ["DERIVED", "PRIMARY", "SUBTRACTION"]}, False),
        ({"SeriesDescription": "T1 post", "SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, False),
        ({"ContrastBolusAgent": "Gd", "EchoTime": 3, "RepetitionTime": 9}, True),
        ({"ContrastBolusAgent": "Gd", "EchoTime": 3, "RepetitionTime": 2000, "InversionTime": 900}, True),
        ({"ContrastBolusAgent": "Gd", "EchoTime": 90, "RepetitionTime": 5000}, False),
        ({"ContrastBolusAgent": "Gd"}, False),
    ],
)
def test_the_t1_with_contrast_is_told_by_its_description_or_its_tags(dicom_folder, changes, recognised):
    dicom_folder.series("a", **changes)

    archive = list_archive(dicom_folder.path)

    assert len(archive.cases) == recognised
    assert recognised or "No series is recognisably a T1 with contrast" in reasons(archive)
    assert not recognised or any("contrast agent by its" in note for note in archive.notes)


def test_a_flair_without_a_description_is_told_by_its_timing(dicom_folder):
    dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.series("b", seed=1, EchoTime=120, RepetitionTime=9000, InversionTime=2500)

    (case,) = list_archive(dicom_folder.path).cases

    assert case.flair == dicom_folder.path / "b"


def test_what_was_acquired_goes_before_what_was_computed_and_3d_before_2d(dicom_folder):
    dicom_folder.series("mpr", ImageType=["DERIVED", "SECONDARY", "MPR"], **dicom_folder.T1C)
    dicom_folder.series("2d", MRAcquisitionType="2D", **dicom_folder.T1C)
    dicom_folder.series("3d", **dicom_folder.T1C)

    (case,) = list_archive(dicom_folder.path).cases

    assert case.t1c == dicom_folder.path / "3d"


def test_two_series_that_could_both_be_it_are_a_problem_that_names_them(dicom_folder):
    dicom_folder.series("a", SeriesDescription="T1 post axial", SeriesNumber=8)
    dicom_folder.series("b", SeriesDescription="T1 post sagittal", SeriesNumber=9)

    archive = list_archive(dicom_folder.path)

    assert archive.cases == ()
    assert "8: T1 post axial; 9: T1 post sagittal" in reasons(archive)


def test_the_series_that_a_segmentation_was_drawn_on_goes_before_others(dicom_folder):
    dicom_folder.series("a", SeriesDescription="T1 post axial")
    drawn_on = dicom_folder.series("b", SeriesDescription="T1 post sagittal")
    dicom_folder.seg("b/seg.dcm", drawn_on, segments(dicom_folder))

    (case,) = list_archive(dicom_folder.path).cases

    assert case.t1c == dicom_folder.path / "b"


def test_two_flair_series_are_a_problem_and_the_study_goes_without(dicom_folder):
    dicom_folder.series("a", **dicom_folder.T1C)
    for name in ("b", "c"):
        dicom_folder.series(name, seed=1, **dicom_folder.FLAIR)

    archive = list_archive(dicom_folder.path)

    assert archive.cases[0].flair is None
    assert "could be the FLAIR" in reasons(archive)


# Masks


@pytest.mark.parametrize("rotation", [(0, 0, 0), (0.3, -0.4, 0.2), (1.2, 0.1, -0.9)])
@pytest.mark.parametrize("flip", [1, -1])
@pytest.mark.parametrize("kind", ["BINARY", "FRACTIONAL"])
def test_a_segmentation_lands_on_the_voxels_it_was_drawn_on(dicom_folder, imported, rotation, flip, kind):
    """Also on an oblique series, and on one whose axes are left-handed."""
    axes = Rotation.from_rotvec(rotation).as_matrix() * (1, 1, flip)
    drawn_on = dicom_folder.series("a", axes=axes, **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, segments(dicom_folder), kind=kind)

    (case,) = imported().cases
    scan, mask = read_volume(case.t1c), read_labels(case.mask)

    assert mask.grid.same_as(scan.grid)
    assert set(case.mask_labels.core) == {1}
    drawn = np.stack([data.pixel_array for data in drawn_on])
    for label, voxels in ((1, CORE), (2, OEDEMA)):
        assert sorted(scan.data[mask.data == label]) == sorted(float(drawn[voxel]) for voxel in voxels)


@pytest.mark.parametrize(
    ("label", "code", "found"),
    [
        ("x", "Necrosis", {1}),
        ("x", "Edema", {2}),
        ("whole tumor", "Neoplasm", {2}),
        ("Tumor", "Neoplasm", {1}),
        ("enhancing", "Mass", {1}),
        ("Enhancing tumor", ("1", "99OWN", "own"), {1}),
        ("oedema", ("1", "99OWN", "own"), {2}),
    ],
)
def test_a_segment_means_what_its_code_says_and_else_its_name(dicom_folder, imported, label, code, found):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, [(label, code, dicom_folder.marked(*CORE))])

    (case,) = imported().cases

    assert set(np.unique(read_labels(case.mask).data)) == {0, *found}


@pytest.mark.parametrize(
    ("label", "code", "reason"),
    [("Segment 1", ("1", "99OWN", "own"), "neither code nor name"), ("brain", "Brain", "marks no tumor")],
)
def test_a_segment_of_unknown_meaning_or_of_no_tumor_is_a_problem(dicom_folder, imported, label, code, reason):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, [(label, code, dicom_folder.marked(*CORE))])

    archive = imported()

    assert archive.cases == ()
    assert reason in reasons(archive)


@pytest.mark.parametrize(("algorithm", "origin"), [("MANUAL", "expert"), ("AUTOMATIC", "network")])
def test_who_drew_a_segmentation_is_kept(dicom_folder, imported, algorithm, origin):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    dicom_folder.seg("a/seg.dcm", drawn_on, segments(dicom_folder), algorithm=algorithm)

    assert imported().cases[0].mask_origin == origin


def test_a_segmentation_of_another_series_in_another_space_is_not_used(dicom_folder, imported):
    dicom_folder.series("a", **dicom_folder.T1C)
    stranger = dicom_folder.series("b", frame="1.2.3.10", SeriesDescription="T2 tse")
    dicom_folder.seg("b/seg.dcm", stranger, segments(dicom_folder))

    archive = imported()

    assert archive.cases[0].mask is None
    assert "drawn on another series" in reasons(archive)


def test_two_segmentations_of_one_study_are_a_problem(dicom_folder, imported):
    drawn_on = dicom_folder.series("a", **dicom_folder.T1C)
    for name in ("first.dcm", "second.dcm"):
        dicom_folder.seg(f"a/{name}", drawn_on, segments(dicom_folder))

    archive = imported()

    assert archive.cases == ()
    assert "several masks: first.dcm, second.dcm" in reasons(archive)


def test_a_nifti_mask_beside_a_study_is_taken_also_when_its_axes_run_the_other_way(dicom_folder, imported):
    dicom_folder.series("a/t1c", **dicom_folder.T1C)
    grid = read_volume(dicom_folder.path / "a" / "t1c").grid
    labels = np.random.default_rng(0).integers(0, 3, grid.shape).astype(np.uint8)
    turned = grid.affine @ np.array([[0, -1, 0, grid.shape[0] - 1], [1, 0, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    shape = (grid.shape[1], grid.shape[0], grid.shape[2])
    mask = resample_labels(LabelMap(labels, grid.affine), Grid(shape, turned))
    write_labels(dicom_folder.path / "a" / "tumor_seg.nii.gz", mask)

    (case,) = imported().cases

    assert np.array_equal(read_labels(case.mask).data, labels)
    assert case.mask_labels.whole[:2] == (1, 2)


def test_a_nifti_mask_on_another_grid_is_a_problem(dicom_folder, imported):
    dicom_folder.series("a", **dicom_folder.T1C)
    grid = read_volume(dicom_folder.path / "a").grid
    shifted = grid.affine.copy()
    shifted[:3, 3] += 0.3
    write_labels(dicom_folder.path / "a" / "seg.nii.gz", LabelMap(np.ones(grid.shape, np.uint8), shifted))

    archive = imported()

    assert archive.cases == ()
    assert "does not lie on the voxels" in reasons(archive)


def test_a_nifti_mask_among_several_studies_belongs_to_none(dicom_folder, imported):
    for study in ("1", "2"):
        dicom_folder.series(study, study=study, **dicom_folder.T1C)
    write_labels(dicom_folder.path / "seg.nii.gz", LabelMap(np.ones((2, 2, 2), np.uint8), np.eye(4)))

    archive = imported()

    assert [case.mask for case in archive.cases] == [None, None]
    assert "2 studies lie beside it" in reasons(archive)


# Hostile files: each is named, and the good study beside it comes through


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
    path = folder.seg("bad/seg.dcm", drawn_on, segments(folder))
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
    path = dicom_folder.seg("a/seg.dcm", drawn_on, segments(dicom_folder))
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
    path = dicom_folder.seg("a/seg.dcm", drawn_on, segments(dicom_folder))
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
