"""DICOM studies: the right series are found, and whatever is open or wrong is a problem with its place and reason."""

import numpy as np
import pytest

from TumorRetrievalLib.cohort.importers.archive import import_archive, list_archive
from TumorRetrievalLib.errors import CannotWrite
from TumorRetrievalLib.imaging.files import read_volume


def reasons(archive) -> str:
    return " | ".join(problem.reason for problem in archive.problems)


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
    dicom_folder.seg("a/seg.dcm", drawn_on, dicom_folder.segments())
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
    dicom_folder.seg("b/seg.dcm", drawn_on, dicom_folder.segments())

    (case,) = list_archive(dicom_folder.path).cases

    assert case.t1c == dicom_folder.path / "b"


def test_two_flair_series_are_a_problem_and_the_study_goes_without(dicom_folder):
    dicom_folder.series("a", **dicom_folder.T1C)
    for name in ("b", "c"):
        dicom_folder.series(name, seed=1, **dicom_folder.FLAIR)

    archive = list_archive(dicom_folder.path)

    assert archive.cases[0].flair is None
    assert "could be the FLAIR" in reasons(archive)
