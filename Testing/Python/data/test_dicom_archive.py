"""A hospital's DICOM study becomes a known case that is found and erased again; a real scan, written as DICOM."""

from copy import deepcopy

import numpy as np
import pytest

from Testing.Python.unit.cohort.conftest import DicomFolder
from TumorRetrievalLib.engine.archive import ReadWith, build_archive_index
from TumorRetrievalLib.engine.find import FindRequest, find_similar
from TumorRetrievalLib.engine.index_care import remove_cases
from TumorRetrievalLib.imaging.files import read_labels, read_volume
from TumorRetrievalLib.retrieval.case_index import CaseIndex

CASE = "BraTS-GLI-00000-000"


def as_dicom(folder: DicomFolder, volume, **changes) -> list:
    """A scan whose axes run to the left, to the back and upwards, as a series of axial slices."""
    slices = folder.series(folder="raw", **changes)[:1] * volume.data.shape[2]
    for path in (folder.path / "raw").iterdir():
        path.unlink()
    written = []
    for number, data in enumerate(slices):
        data = deepcopy(data)
        pixels = np.rint(volume.data[:, :, number].T).astype(np.uint16)
        data.Rows, data.Columns, data.PixelData = *pixels.shape, pixels.tobytes()
        data.PixelSpacing, data.SliceThickness, data.SpacingBetweenSlices = [1, 1], 1, 1
        data.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
        x, y, z = volume.grid.to_world((0, 0, number))
        data.ImagePositionPatient, data.InstanceNumber = [float(-x), float(-y), float(z)], number + 1
        data.SOPInstanceUID = f"{data.SeriesInstanceUID}.{number + 1}"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID
        data.save_as(folder.path / "raw" / f"{changes['SeriesNumber']}-{number:03d}.dcm", enforce_file_format=True)
        written.append(data)
    return written


@pytest.fixture(scope="module")
def study(real_data, tmp_path_factory):
    """T1 with contrast and a SEG of one patient, named as a hospital names them."""
    folder = DicomFolder(tmp_path_factory.mktemp("pacs"))
    scan = read_volume(real_data / "brats3d" / CASE / "t1c.nii.gz")
    seg = read_labels(real_data / "brats3d" / CASE / "seg.nii.gz")
    np.testing.assert_allclose(np.diag(scan.affine)[:3], (-1, -1, 1))
    slices = as_dicom(folder, scan, SeriesInstanceUID="1.2.3.4.5", **DicomFolder.T1C)
    core, oedema = ((mask.transpose(2, 1, 0)) for mask in (np.isin(seg.data, (1, 3)), seg.data == 2))
    lesion = ("C113842", "NCIt", "Enhancing Lesion")
    folder.seg("drawn/seg.dcm", slices, [("Core", lesion, core), ("Edema", "Edema", oedema)])
    return folder.path, seg


def test_a_study_is_indexed_without_its_patients_name_found_and_erased(study, tmp_path):
    archive, seg = study
    index = tmp_path / "my-index"

    built = build_archive_index(archive, index, ReadWith(device="cpu", workers=1))

    assert not built["problems"]
    (case_id,) = built["added"]
    with CaseIndex.open(index) as opened:
        (tumor,) = opened.get(case_id).tumors
        assert tumor.core_ml == pytest.approx(np.isin(seg.data, (1, 3)).sum() / 1000, rel=0.02)
        assert tumor.left_right == "left"
    names = [b"Doe", b"Jane", b"4711", b"House"]
    for file in (f for f in index.rglob("*") if f.is_file()):
        assert not any(name in file.read_bytes() for name in names), file

    request = FindRequest(
        t1c=archive / "raw", boxes=[tumor.box], k=1, out=tmp_path / "found", index=index, report=False, device="cpu"
    )
    (hit,) = find_similar(request)["tumors"][0]["hits"]
    assert (hit["case"], hit["left_right"]) == (case_id, "left") and hit["score"] > 0.95

    remove_cases(index, [case_id])
    with CaseIndex.open(index) as opened:
        assert not opened.case_ids()
    for file in (f for f in index.rglob("*") if f.is_file()):
        assert case_id.encode() not in file.read_bytes() and case_id not in str(file), file
