"""A CSV manifest as an archive: what it states is kept, and what it states wrongly is a problem of its row."""

import json

import pytest

from TumorRetrievalLib.cohort.case import SyntheticRecipe
from TumorRetrievalLib.cohort.importers.archive import list_archive
from TumorRetrievalLib.errors import ManifestError, UnreadableFile

COLUMNS = "case,patient,t1c,flair,mask,mask_scheme,mask_origin,type,marker"


@pytest.fixture
def manifest(archive_folder):
    """A function that writes the rows of a manifest beside the cases "a" (labels 1, 2, 4) and "b" (3)."""
    archive_folder.case("a", labels=(1, 2, 4))
    archive_folder.case("b", labels=(3,))

    def write(*rows, name="cohort.csv"):
        path = archive_folder.path / name
        path.write_text("\n".join((COLUMNS, *rows)) + "\n", encoding="utf-8")
        return path

    return write


def reasons(archive) -> str:
    return " | ".join(problem.reason for problem in archive.problems)


def test_a_manifest_states_scheme_origin_type_and_marker(manifest):
    path = manifest("1,A,a/t1c.nii.gz,a/flair.nii.gz,a/seg.nii.gz,brats2017,expert,glioma,IDH mutant")

    archive = list_archive(path)

    (case,) = archive.cases
    (tumor,) = case.tumors
    assert (archive.kind, archive.problems) == ("manifest", ())
    assert (case.mask_labels.core, case.mask_labels.whole, case.mask_origin) == ((1, 4), (1, 2, 4), "expert")
    assert (tumor.type, tumor.marker) == ("glioma", "IDH mutant")
    assert any("BraTS 2017-2021 (core 1, 4; whole tumor 1, 2, 4)" in note for note in archive.notes)


def test_a_scheme_of_ones_own_is_written_as_labels(manifest):
    path = manifest('1,A,a/t1c.nii.gz,,a/seg.nii.gz,"core=4 whole=2,4 # ours, 1 is the cavity",,,')

    (case,) = list_archive(path).cases

    assert (case.mask_labels.core, case.mask_labels.whole) == ((4,), (2, 4))
    assert case.mask_labels.scheme == "ours, 1 is the cavity"


def test_a_mask_without_a_scheme_is_core_and_that_is_said(manifest):
    archive = list_archive(manifest("1,A,a/t1c.nii.gz,,a/seg.nii.gz,,,,"))

    assert archive.cases[0].mask_labels is None
    assert any("every label (1, 2, 4) was read as tumor core" in note for note in archive.notes)


def test_a_bad_row_is_named_and_the_others_come_through(manifest):
    rows = [
        "good,A,a/t1c.nii.gz,,a/seg.nii.gz,brats2017,,,",
        "gone,B,nowhere.nii.gz,,,,,,",
        "outside,B,../../elsewhere.nii.gz,,,,,,",
        "type,B,b/t1c.nii.gz,,,,,gliomatosis,",
        "scheme,B,b/t1c.nii.gz,,b/seg.nii.gz,brats1999,,,",
        "fit,B,b/t1c.nii.gz,,b/seg.nii.gz,brats2017,,,",
        "own,B,b/t1c.nii.gz,,b/seg.nii.gz,core=7 whole=7,,,",
        "origin,B,b/t1c.nii.gz,,,,me,,",
        "short,B",
        ",B,b/t1c.nii.gz,,,,,,",
        "good,A,b/t1c.nii.gz,,,,,,",
        "empty,B,,,,,,,",
        "also good,B,b/t1c.nii.gz,,,,,,",
    ]

    archive = list_archive(manifest(*rows))

    assert [case.id for case in archive.cases] == ["good", "also good"]
    assert len(archive.problems) == 11
    for part in (
        "row 3, column 't1c': there is no", "row 4, column 't1c': '../../elsewhere.nii.gz' leads out",
        "'gliomatosis' is not a known type", "expected brats2013", "labels 3, which do not fit its mask_scheme, BraTS",
        "labels 3, which do not fit its mask_scheme, core=7", "expected expert or network", "2 cells under 9 columns",
        "row 11, column 'case': the cell is empty", "'good' appeared in row 2 already", "neither a t1c nor a recipe",
    ):  # fmt: skip
        assert part in reasons(archive)


def test_a_folder_is_read_by_the_manifest_in_it_and_other_tables_are_passed_over(manifest, archive_folder):
    manifest("1,A,a/t1c.nii.gz,,,,,,")
    (archive_folder.path / "survival.csv").write_text("Brats20ID,Age\nx,50\n")

    archive = list_archive(archive_folder.path)

    assert (archive.kind, [case.id for case in archive.cases]) == ("manifest", ["1"])


def test_of_two_manifests_one_must_be_named(manifest, archive_folder):
    manifest("1,A,a/t1c.nii.gz,,,,,,")
    manifest("2,A,a/t1c.nii.gz,,,,,,", name="second.csv")

    with pytest.raises(UnreadableFile, match=r"cohort\.csv, second\.csv"):
        list_archive(archive_folder.path)


def test_synthetic_cases_of_a_manifest_need_no_files(tmp_path):
    (tmp_path / "m.csv").write_text("case,patient,t1c,recipe\na,A,,7:glioma:2\n")

    (case,) = list_archive(tmp_path / "m.csv").cases

    assert case.recipe == SyntheticRecipe(7, "glioma", 2)


def test_a_table_that_is_no_manifest_is_refused_whole(tmp_path):
    (tmp_path / "m.csv").write_text("name,age\na,50\n")

    with pytest.raises(ManifestError, match="unknown column 'name'"):
        list_archive(tmp_path / "m.csv")


def test_the_report_holds_plain_values_only(manifest):

    report = list_archive(
        manifest("1,A,a/t1c.nii.gz,,a/seg.nii.gz,brats2017,,glioma,IDH mutant", "2,B,x,,,,,,")
    ).as_report()

    assert json.loads(json.dumps(report)) == report
    assert report["cases"][0]["labels"] == "glioma, IDH mutant"
    assert len(report["problems"]) == 1
