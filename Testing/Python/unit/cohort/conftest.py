"""Archives for tests: folders of small scans in any naming, and DICOM studies with segmentations."""

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

from TumorRetrievalLib.cohort.importers.archive import import_archive
from TumorRetrievalLib.imaging.files import write_labels, write_volume
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

SHAPE = (7, 6, 5)
AFFINE = np.array([[-1.0, 0, 0, 10], [0, -1, 0, 20], [0, 0, 2, -30], [0, 0, 0, 1]])


def noise(seed: int = 0) -> Volume:
    return Volume(np.random.default_rng(seed).integers(0, 100, SHAPE).astype(np.float32), AFFINE)


def marked(labels) -> LabelMap:
    """A mask in which each label has one voxel."""
    data = np.zeros(SHAPE, np.uint8)
    data.ravel()[10 : 10 + len(labels)] = labels
    return LabelMap(data, AFFINE)


@dataclass
class ArchiveFolder:
    """A folder to which cases are added."""

    path: Path

    def case(self, name, t1c="t1c.nii.gz", flair="flair.nii.gz", mask="seg.nii.gz", labels=(1, 2)) -> Path:
        """A folder with one case; None leaves a file out."""
        folder = self.path / name
        folder.mkdir(parents=True)
        for seed, scan in enumerate((t1c, flair)):
            if scan is not None:
                write_volume(folder / scan, noise(seed))
        if mask is not None:
            write_labels(folder / mask, marked(labels))
        return folder


MR_IMAGE = "1.2.840.10008.5.1.4.1.1.4"
ROWS, COLUMNS, SLICES = 6, 5, 4
AXIAL = np.eye(3)


def pixels(seed: int = 0) -> np.ndarray:
    """(slices, rows, columns)."""
    return np.random.default_rng(seed).integers(0, 1000, (SLICES, ROWS, COLUMNS)).astype(np.uint16)


@dataclass
class DicomFolder:
    """A folder to which studies are written.

    :param path: the folder.
    :param headers: elements that every file gets, whatever it is of.
    """

    T1C = {"SeriesDescription": "T1 MPRAGE post Gd", "SeriesNumber": 7}
    FLAIR = {"SeriesDescription": "T2 FLAIR tra", "SeriesNumber": 3}

    path: Path
    headers: dict = field(default_factory=dict)

    CORE = ((1, 2, 3), (1, 2, 2), (2, 2, 3))
    OEDEMA = ((1, 3, 3), (2, 1, 1))

    def segments(self) -> list:
        """Enhancing tumor and oedema, for `seg`."""
        return [
            ("Enhancing", ("C113842", "NCIt", "Enhancing Lesion"), self.marked(*self.CORE)),
            ("around it", "Edema", self.marked(*self.OEDEMA)),
        ]

    @staticmethod
    def marked(*voxels) -> np.ndarray:
        """A mask (slices, rows, columns) with some voxels marked."""
        mask = np.zeros((SLICES, ROWS, COLUMNS), bool)
        for voxel in voxels:
            mask[voxel] = True
        return mask

    def series(self, folder=".", study="1", axes=AXIAL, names="{:03d}.dcm", seed=0, frame="1.2.3.9", **changes):
        """One series; `axes` are the directions of rows, columns and slices (LPS) as columns.

        :param changes: overwrite or (None) remove elements.
        :returns: the datasets, by slice.
        """
        from pydicom.uid import generate_uid

        place = self.path / folder
        place.mkdir(parents=True, exist_ok=True)
        uid = changes.pop("SeriesInstanceUID", None) or generate_uid()
        slices = []
        for number, image in enumerate(pixels(seed)):
            data = self._slice(f"1.2.3.{study}", uid, frame, number, image, np.asarray(axes))
            for element, value in {**self.headers, **changes}.items():
                if value is None:
                    if element in data:
                        delattr(data, element)
                else:
                    setattr(data, element, value)
            data.save_as(place / names.format(number), enforce_file_format=True)
            slices.append(data)
        return slices

    @staticmethod
    def _slice(study, series, frame, number, image, axes):
        import pydicom
        from pydicom.uid import ExplicitVRLittleEndian, generate_uid

        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = MR_IMAGE
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = generate_uid()
        data.Modality, data.PatientName, data.PatientID = "MR", "Doe^Jane", "4711"
        data.PatientBirthDate, data.PatientSex, data.AccessionNumber, data.StudyID = "19500101", "F", "1", "1"
        data.StudyDate, data.StudyTime, data.ReferringPhysicianName = "20200101", "120000", "House^Gregory"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = study, series, frame
        data.ImageType, data.InstanceNumber, data.SeriesNumber = ["ORIGINAL", "PRIMARY", "M"], number + 1, 1
        data.ScanningSequence, data.SequenceVariant, data.MRAcquisitionType = "GR", "SP", "3D"
        data.ImageOrientationPatient = [float(f"{x:.9f}") for x in axes[:, :2].T.ravel()]
        data.ImagePositionPatient = [float(f"{x:.6f}") for x in axes @ (-20, -30, 3.0 * number)]
        data.PixelSpacing, data.SliceThickness, data.SpacingBetweenSlices = [0.8, 0.7], 3, 3
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = ROWS, COLUMNS, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = image.tobytes()
        return data

    def seg(self, name, source, segments, algorithm="MANUAL", kind="BINARY", **changes) -> Path:
        """A SEG object drawn on a series.

        :param source: what `series` returned.
        :param segments: (label, code keyword of SCT or (value, scheme, meaning), bool mask (slices, rows, columns)).
        """
        import highdicom as hd
        from pydicom.sr.codedict import codes
        from pydicom.uid import generate_uid

        descriptions = []
        for number, (label, code, _) in enumerate(segments, start=1):
            coded = getattr(codes.SCT, code) if isinstance(code, str) else hd.sr.CodedConcept(*code)
            manual = algorithm == "MANUAL"
            used = None if manual else hd.AlgorithmIdentificationSequence("net", codes.DCM.ArtificialIntelligence, "1")
            descriptions.append(
                hd.seg.SegmentDescription(
                    number, label, codes.SCT.MorphologicallyAbnormalStructure, coded, algorithm, used
                )
            )
        stored = hd.seg.Segmentation(
            source_images=source,
            pixel_array=np.stack([mask for *_, mask in segments], axis=-1).astype(np.uint8),
            segmentation_type=kind,
            segment_descriptions=descriptions,
            series_instance_uid=generate_uid(),
            series_number=100,
            sop_instance_uid=generate_uid(),
            instance_number=1,
            manufacturer="m",
            manufacturer_model_name="m",
            software_versions="1",
            device_serial_number="1",
            omit_empty_frames=True,
        )
        for element, value in {**self.headers, **changes}.items():
            setattr(stored, element, value)
        path = self.path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        stored.save_as(path)
        return path


@pytest.fixture
def archive_folder(tmp_path) -> ArchiveFolder:
    folder = tmp_path / "archive"
    folder.mkdir()
    return ArchiveFolder(folder)


@pytest.fixture
def dicom_folder(tmp_path) -> DicomFolder:
    folder = tmp_path / "studies"
    folder.mkdir()
    return DicomFolder(folder)


@pytest.fixture
def imported(dicom_folder, tmp_path):
    """A function that imports the folder of studies."""

    def run():
        return import_archive(dicom_folder.path, tmp_path / "copies", salt_file=tmp_path / "salt")

    return run
