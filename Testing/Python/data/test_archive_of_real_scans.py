"""The folder of real BraTS cases is listed as what it is."""

from TumorRetrievalLib.cohort.importers.archive import list_archive

SCHEMES = {
    **dict.fromkeys([f"BRATS2013_pat000{n}" for n in (1, 2, 3, 4)], ((1, 3, 4), (1, 2, 3, 4))),
    "Brats18_2013_2_1": ((1, 4), (1, 2, 4)),
    **dict.fromkeys(["BraTS-GLI-00000-000", "BraTS-GLI-00001-000", "TCGA-DU-7294"], ((1, 3), (1, 2, 3))),
}
WITHOUT_MASK = {"BraTS-MET-00110-000", "BraTSReg_002_pre", "BraTSReg_002_post"}


def test_every_real_case_is_listed_with_the_labels_of_its_year(real_data):
    archive = list_archive(real_data / "brats3d")

    cases = {case.id: case for case in archive.cases}
    assert (archive.kind, archive.problems) == ("brats", ())
    assert cases.keys() == SCHEMES.keys() | WITHOUT_MASK
    meanings = {name: case.mask_labels for name, case in cases.items() if case.mask is not None}
    assert {name: (meaning.core, meaning.whole) for name, meaning in meanings.items()} == SCHEMES
    assert all(case.flair is not None for case in archive.cases)
    assert cases["BraTSReg_002_pre"].patient == cases["BraTSReg_002_post"].patient
    types = {name: tumor.type for name, case in cases.items() for tumor in case.tumors}
    assert types == {
        "BraTS-GLI-00000-000": "glioma", "BraTS-GLI-00001-000": "glioma", "BraTS-MET-00110-000": "metastasis",
    }  # fmt: skip
