"""What is fuzzed: for each kind of file a small valid one, how its parts are put together, and how it is read.

Where a format carries checksums, a file is damaged in two ways: as it lies on the disk ("damaged"), which the checksums
have to notice, and in its parts before they are sealed ("forged"), which is what somebody who means harm would do.
"""

import contextlib
import gzip
import hashlib
import io
import json
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.cohort.case import Case, MaskLabels, SyntheticRecipe, Tumor
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.volume import LabelMap, Volume

Parts = dict[str, bytes]


@dataclass(frozen=True)
class Subject:
    """One way of feeding one reader.

    :param parts: contents by name, each of which may be damaged.
    :param put_together: writes parts into an empty folder and returns what is to be read.
    :param read: the reader; it may raise errors of ours.
    """

    parts: Parts
    put_together: Callable[[Path, Parts], Path]
    read: Callable[[Path], object]


MAKERS: dict[str, Callable[[Path], Subject]] = {}


def subject(name: str):
    """Register a maker: given an empty folder to work in, it makes a subject."""

    def register(make):
        MAKERS[name] = make
        return make

    return register


def as_files(folder: Path, parts: Parts) -> Path:
    """Each part is a file of a folder, which is read."""
    for name, content in parts.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_bytes(content)
    return folder


def first_file(folder: Path, parts: Parts) -> Path:
    """Each part is a file; the first one is read."""
    return as_files(folder, parts) / next(iter(parts))


def files_of(folder: Path) -> Parts:
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def file_in(path: Path) -> Parts:
    return {path.name: path.read_bytes()}


def small_scan() -> Volume:
    data = np.random.default_rng(0).integers(0, 90, (6, 5, 4)).astype(np.float32)
    return Volume(data, np.array([[-1.0, 0, 0.1, 9], [0, 1, 0, -7], [-0.1, 0, 2, 3], [0, 0, 0, 1]]))


def read_image(path: Path) -> None:
    """As a scan and as a segmentation; an error in the first must not hide what the second does."""
    from TumorRetrievalLib.errors import TumorRetrievalError
    from TumorRetrievalLib.imaging.files import read_labels, read_volume

    with contextlib.suppress(TumorRetrievalError):
        read_volume(path)
    read_labels(path)


def _image(suffix: str) -> Callable[[Path], Subject]:
    def make(folder: Path) -> Subject:
        from TumorRetrievalLib.imaging.files import write_volume

        write_volume(folder / f"scan{suffix}", small_scan())
        return Subject(file_in(folder / f"scan{suffix}"), first_file, read_image)

    return make


for _suffix in (".nii", ".nii.gz", ".nrrd"):
    subject(f"image {_suffix}")(_image(_suffix))


@subject("image .nii.gz, forged")
def _forged_nifti(folder: Path) -> Subject:
    from TumorRetrievalLib.imaging.files import write_volume

    def put_together(target: Path, parts: Parts) -> Path:
        (target / "scan.nii.gz").write_bytes(gzip.compress(parts["scan.nii"], 1))
        return target / "scan.nii.gz"

    write_volume(folder / "scan.nii", small_scan())
    return Subject(file_in(folder / "scan.nii"), put_together, read_image)


@subject("image .nhdr")
def _detached_nrrd(folder: Path) -> Subject:
    from TumorRetrievalLib.imaging.files import write_volume

    write_volume(folder / "scan.nrrd", small_scan())
    header, _, data = (folder / "scan.nrrd").read_bytes().partition(b"\n\n")
    header = header.replace(b"encoding: gzip", b"encoding: raw") + b"\ndata file: scan.raw\n\n"
    return Subject({"scan.nhdr": header, "scan.raw": gzip.decompress(data)}, first_file, read_image)


def _study(folder: Path):
    """A series of four slices in files, and a segmentation drawn on it."""
    import highdicom
    import pydicom
    from pydicom.sr.codedict import codes
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    slices = []
    for number in range(4):
        data = pydicom.Dataset()
        data.file_meta = pydicom.dataset.FileMetaDataset()
        data.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
        data.file_meta.MediaStorageSOPClassUID = data.SOPClassUID = "1.2.840.10008.5.1.4.1.1.4"
        data.file_meta.MediaStorageSOPInstanceUID = data.SOPInstanceUID = f"1.2.3.9.{number}"
        data.Modality, data.PatientName, data.PatientID, data.PatientSex = "MR", "Doe^Jane", "4711", "F"
        data.PatientBirthDate, data.AccessionNumber, data.StudyID = "19500101", "1", "1"
        data.StudyDate, data.StudyTime, data.ReferringPhysicianName = "20200101", "120000", "House^Gregory"
        data.StudyInstanceUID, data.SeriesInstanceUID, data.FrameOfReferenceUID = "1.2.3.1", "1.2.3.2", "1.2.3.3"
        data.ImageType, data.InstanceNumber, data.SeriesNumber = ["ORIGINAL", "PRIMARY", "M"], number + 1, 1
        data.SeriesDescription, data.ScanningSequence, data.SequenceVariant = "T1 post Gd", "GR", "SP"
        data.ImageOrientationPatient, data.ImagePositionPatient = [1, 0, 0, 0, 1, 0], [-2, -3, 5.0 * number]
        data.PixelSpacing, data.SliceThickness = [0.8, 0.7], 5
        data.Rows, data.Columns, data.SamplesPerPixel, data.PhotometricInterpretation = 6, 5, 1, "MONOCHROME2"
        data.BitsAllocated, data.BitsStored, data.HighBit, data.PixelRepresentation = 16, 16, 15, 0
        data.PixelData = (np.arange(30, dtype=np.uint16) + number).tobytes()
        data.save_as(folder / f"{number}.dcm", enforce_file_format=True)
        slices.append(data)
    meaning = codes.SCT.MorphologicallyAbnormalStructure
    mask = np.zeros((4, 6, 5, 1), np.uint8)
    mask[1:3, 2:4, 2:4] = 1
    segmentation = highdicom.seg.Segmentation(
        source_images=slices, pixel_array=mask, segmentation_type="BINARY",
        segment_descriptions=[highdicom.seg.SegmentDescription(1, "core", meaning, codes.SCT.Neoplasm, "MANUAL")],
        series_instance_uid=generate_uid(), series_number=100, sop_instance_uid=generate_uid(), instance_number=1,
        manufacturer="m", manufacturer_model_name="m", software_versions="1", device_serial_number="1",
    )  # fmt: skip
    segmentation.save_as(folder / "seg.dcm")


@subject("DICOM series")
def _series(folder: Path) -> Subject:
    from TumorRetrievalLib.imaging.files import read_volume

    _study(folder)
    (folder / "seg.dcm").unlink()
    return Subject(files_of(folder), as_files, read_volume)


@subject("DICOM SEG")
def _seg(folder: Path) -> Subject:
    from TumorRetrievalLib.imaging.dicom_seg import read_dicom_seg

    _study(folder)
    return Subject(file_in(folder / "seg.dcm"), first_file, read_dicom_seg)


@subject("archive of DICOM studies")
def _dicom_archive(folder: Path) -> Subject:
    from TumorRetrievalLib.cohort.importers.archive import list_archive

    _study(folder)
    return Subject(files_of(folder), as_files, list_archive)


@subject("archive of folders")
def _brats_archive(folder: Path) -> Subject:
    from TumorRetrievalLib.cohort.importers.archive import list_archive
    from TumorRetrievalLib.imaging.files import write_labels, write_volume

    scan = small_scan()
    write_volume(folder / "t1c.nii.gz", scan)
    write_volume(folder / "flair.nii.gz", scan)
    write_labels(folder / "seg.nii.gz", LabelMap((scan.data > 50).astype(np.uint8), scan.affine))

    def put_together(target: Path, parts: Parts) -> Path:
        as_files(target, {f"BraTS-GLI-00001-000/{name}": content for name, content in parts.items()})
        return target

    return Subject(files_of(folder), put_together, list_archive)


def _tumor(name: str) -> Tumor:
    box = Box.aligned((10, 20, 30), (5, 6, 7))
    return Tumor(id=name, box=box, type="glioma", left_right="left", core_ml=1.5, atlas_mm=(1.0, 2.0, 3.0), marker="m")


def cases_in(folder: Path) -> list[Case]:
    labels = MaskLabels(core=(1, 3), whole=(1, 2, 3), scheme="BraTS 2021")
    scan, mask = folder / "scan.nii.gz", folder / "mask.nii.gz"
    return [
        Case(id="a", patient="p", t1c=scan, mask=mask, mask_labels=labels, mask_origin="expert", tumors=(_tumor("1"),)),
        Case(id="b", patient="q", recipe=SyntheticRecipe(7, "glioma", 1), tumors=(_tumor("1"), _tumor("2"))),
        Case(id="ç", patient="q", provenance="a, \"b\"\n'c'", tumors=()),
    ]


@subject("manifest")
def _manifest(folder: Path) -> Subject:
    from TumorRetrievalLib.cohort.manifest import read_manifest, write_manifest

    (folder / "scan.nii.gz").touch()
    (folder / "mask.nii.gz").touch()
    write_manifest(folder / "manifest.csv", cases_in(folder))
    return Subject(file_in(folder / "manifest.csv") | files_of(folder), first_file, read_manifest)


def _network_parts(folder: Path) -> Parts:
    import torch

    from TumorRetrievalLib.networks.default import DefaultNetwork
    from TumorRetrievalLib.networks.weights import save_model

    torch.manual_seed(1)
    return files_of(save_model(folder, DefaultNetwork(widths=(8, 8, 8)), {"labels": {"type": ["glioma"]}}))


def _load_model(folder: Path) -> object:
    from TumorRetrievalLib.networks.weights import load_model

    return load_model(folder, "cpu")


@subject("model, damaged")
def _model(folder: Path) -> Subject:
    return Subject(_network_parts(folder), as_files, _load_model)


@subject("model, forged")
def _forged_model(folder: Path) -> Subject:
    def put_together(target: Path, parts: Parts) -> Path:
        as_files(target, parts)
        digest = hashlib.sha256(parts["weights.safetensors"]).hexdigest().encode()
        contract = parts["model.json"].replace(stated, digest)
        (target / "model.json").write_bytes(contract)
        return target

    parts = _network_parts(folder)
    stated = json.loads(parts["model.json"])["weights_sha256"].encode()
    return Subject(parts, put_together, _load_model)


def _index_parts(folder: Path) -> Parts:
    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.retrieval.index_manifest import LOCK
    from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

    rows = _vectors()
    with CaseIndex.create(folder / "index", "a" * 64, search=NumpySearch) as index:
        index.add(cases_in(folder), [rows[:1], rows[1:], rows[:0]])
    (folder / "index" / LOCK).unlink()
    return files_of(folder / "index")


def _vectors() -> np.ndarray:
    """Three embeddings, shape (3, D)."""
    from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT

    random = np.random.default_rng(0)
    blocks = [{name: random.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks} for _ in range(3)]
    return np.stack([DEFAULT_LAYOUT.combine(each) for each in blocks])


def _use_index(folder: Path) -> None:
    """What a user does with an index that somebody has given him."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.retrieval.numpy_search import NumpySearch
    from TumorRetrievalLib.retrieval.verification import verify_index

    verify_index(folder, every_record=True)
    with CaseIndex.open(folder, search=NumpySearch) as index:
        _look_around(index)


def _open_index(folder: Path) -> None:
    """The same without asking first whether it is whole."""
    from TumorRetrievalLib.retrieval.case_index import CaseIndex
    from TumorRetrievalLib.retrieval.numpy_search import NumpySearch

    with CaseIndex.open(folder, search=NumpySearch) as index:
        _look_around(index)


def _look_around(index) -> None:
    from TumorRetrievalLib.retrieval.filters import Filters

    index.stats()
    if index.layout.size == _vectors().shape[1]:
        index.search(_vectors(), 2)
        index.search(_vectors(), 2, Filters(types=("glioma",), left_right=("left",)))
    for case_id in index.case_ids():
        index.get(case_id)
        index.vectors_of(case_id)


def _sealed_index(parts: Parts) -> Parts:
    """An index whose manifest says what its other files are; without a manifest that can be read, as it is."""
    digests = {name.split("-")[0]: hashlib.sha256(content).hexdigest() for name, content in parts.items()}
    try:
        content = json.loads(parts["manifest.json"])
        content.pop("sha256", None)
        content["index"] |= {f"{kind}_sha256": digests[kind] for kind in ("cases", "vectors")}
        own = hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
        text = json.dumps(content | {"sha256": own}, indent=1, sort_keys=True) + "\n"
        return parts | {"manifest.json": text.encode()}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return parts


@subject("index, damaged")
def _index(folder: Path) -> Subject:
    return Subject(_index_parts(folder), as_files, _use_index)


@subject("index, forged and verified")
def _verified_index(folder: Path) -> Subject:
    return Subject(_index_parts(folder), lambda target, parts: as_files(target, _sealed_index(parts)), _use_index)


@subject("index, forged")
def _forged_index(folder: Path) -> Subject:
    return Subject(_index_parts(folder), lambda target, parts: as_files(target, _sealed_index(parts)), _open_index)


def _import(file: Path) -> None:
    """Import an exported index, and remove it again: what is left behind is what must not be."""
    import shutil

    from TumorRetrievalLib.retrieval.portable import import_index

    import_index(file, file.with_name("imported"))
    shutil.rmtree(file.with_name("imported"))


@subject("exported index, damaged")
def _export(folder: Path) -> Subject:
    return Subject({"file.index": _zipped_index(_index_parts(folder))}, first_file, _import)


@subject("exported index, forged")
def _forged_export(folder: Path) -> Subject:
    def put_together(target: Path, parts: Parts) -> Path:
        (target / "file.index").write_bytes(_zipped_index(_sealed_index(parts)))
        return target / "file.index"

    return Subject(_index_parts(folder), put_together, _import)


def _zipped_index(parts: Parts) -> bytes:
    files = [{"name": n, "bytes": len(c), "sha256": hashlib.sha256(c).hexdigest()} for n, c in parts.items()]
    contents = {"kind": "TumorRetrieval index export", "version": 1, "files": files}
    return zipped({"contents.json": json.dumps(contents).encode(), **parts}, zipfile.ZIP_STORED)


def zipped(members: Parts, compression: int) -> bytes:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return target.getvalue()
