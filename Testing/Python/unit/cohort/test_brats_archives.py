"""Folders in the manner of BraTS become cases: the naming of each year, its patients, types and label schemes."""

import pytest

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.cohort.importers.archive import list_archive


@pytest.mark.parametrize(
    ("case", "files", "labels", "patient", "core", "whole"),
    [
        ("BRATS2013_pat0001", "{}_T1c {}_Flair {}_seg", (1, 2, 3, 4), "BRATS2013_pat0001", (1, 3, 4), (1, 2, 3, 4)),
        ("brats_2013_pat0003_1", "t1c flair seg", (1, 2, 3, 4), "brats_2013_pat0003", (1, 3, 4), (1, 2, 3, 4)),
        ("Brats17_TCIA_101_1", "{}_t1ce {}_flair {}_seg", (1, 2, 4), "Brats17_TCIA_101", (1, 4), (1, 2, 4)),
        ("Brats18_2013_2_1", "{}_t1ce {}_flair {}_seg", (1, 2, 4), "Brats18_2013_2", (1, 4), (1, 2, 4)),
        ("BraTS19_CBICA_AAB_1", "{}_t1ce {}_flair {}_seg", (1, 2, 4), "BraTS19_CBICA_AAB", (1, 4), (1, 2, 4)),
        ("BraTS20_Training_001", "{}_t1ce {}_flair {}_seg", (2, 4), "BraTS20_Training_001", (1, 4), (1, 2, 4)),
        (
            "BraTS20_Training_355",
            "{}_t1ce {}_flair W39_Segm",
            (1, 2, 4),
            "BraTS20_Training_355",
            (1, 4),
            (1, 2, 4),
        ),
        ("BraTS2021_00000", "{}_t1ce {}_flair {}_seg", (1, 2, 4), "BraTS2021_00000", (1, 4), (1, 2, 4)),
        ("BraTS2021_00002", "{}_t1ce {}_flair {}_seg", (1, 2, 3), "BraTS2021_00002", (1, 3), (1, 2, 3)),
        ("BraTS-GLI-00000-000", "{}-t1c {}-t2f {}-seg", (1, 2, 3), "BraTS-GLI-00000", (1, 3), (1, 2, 3)),
        ("BraTS-GLI-02405-101", "{}-t1c {}-t2f {}-seg", (1, 2, 3, 4), "BraTS-GLI-02405", (1, 3), (1, 2, 3)),
        ("BraTS-MEN-00004-000", "{}-t1c {}-t2f {}-seg", (3,), "BraTS-MEN-00004", (1, 3), (1, 2, 3)),
        ("BraTS-MEN-RT-0002-1", "{}_t1c - {}_gtv", (1,), "BraTS-MEN-RT-0002", (1,), (1,)),
        ("BraTS-MET-00110-000", "{}-t1c {}-t2f {}-seg", (2, 3), "BraTS-MET-00110", (1, 3), (1, 2, 3)),
        ("BraTS-PED-00030-000", "{}-t1c {}-t2f {}-seg", (1, 2, 3, 4), "BraTS-PED-00030", (1, 2, 3), (1, 2, 3, 4)),
        ("TCGA-DU-7294", "t1c flair seg", (1, 2), "TCGA-DU-7294", (1, 3), (1, 2, 3)),
    ],
)
@pytest.mark.parametrize("suffix", [".nii", ".nii.gz"])
def test_every_naming_gives_the_case_its_patient_and_the_meaning_of_its_mask(
    archive_folder, case, files, labels, patient, core, whole, suffix
):
    t1c, flair, mask = (None if name == "-" else name.format(case) + suffix for name in files.split())
    folder = archive_folder.case(case, t1c=t1c, flair=flair, mask=mask, labels=labels)

    archive = list_archive(archive_folder.path)

    assert archive.problems == ()
    (found,) = archive.cases
    assert (found.id, found.patient) == (case, patient)
    assert found.t1c == folder / t1c
    assert found.flair == (folder / flair if flair else None)
    assert found.mask == folder / mask
    assert (found.mask_labels.core, found.mask_labels.whole) == (core, whole)
    assert any(found.mask_labels.scheme in note for note in archive.notes)


@pytest.mark.parametrize(
    ("case", "type_"),
    [
        ("BraTS-GLI-00000-000", "glioma"),
        ("BraTS-MEN-00004-000", "meningioma"),
        ("BraTS-MEN-RT-0002-1", "meningioma"),
        ("BraTS-MET-00110-000", "metastasis"),
        ("BraTS-SSA-00002-000", None),
        ("BraTS20_Training_001", None),
        ("our case 7", None),
    ],
)
def test_a_type_is_stated_by_the_collections_name_or_stays_unknown(archive_folder, case, type_):
    archive_folder.case(case, mask=None)

    (found,) = list_archive(archive_folder.path).cases

    assert found.tumors == (() if type_ is None else (Tumor(type=type_),))
