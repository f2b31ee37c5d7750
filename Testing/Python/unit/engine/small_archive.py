"""Tiny archives in the manner of BraTS, and a stand-in for reading a case, which takes no network and no time."""

from dataclasses import replace
from types import SimpleNamespace

import nibabel
import numpy as np

from TumorRetrievalLib.cohort.case import Tumor
from TumorRetrievalLib.engine import archive
from TumorRetrievalLib.engine.embed_case import NETWORK_LABELS, voxels_sha256
from TumorRetrievalLib.engine.parts import EmbeddedCase
from TumorRetrievalLib.errors import InvalidImage
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_volume
from TumorRetrievalLib.imaging.volume import LabelMap
from TumorRetrievalLib.retrieval.blocks import DEFAULT_LAYOUT
from TumorRetrievalLib.retrieval.embedding import model_identity

CONTRACT = {"weights_sha256": "0" * 64}
MODEL = model_identity(CONTRACT)


def write_case(root, name, seed=None, *, mask=True):
    """A folder with a scan of 8 x 8 x 8 voxels and, unless told otherwise, a mask."""
    rng = np.random.default_rng(abs(hash(name)) % 2**32 if seed is None else seed)
    folder = root / name
    folder.mkdir(parents=True)
    nibabel.save(nibabel.Nifti1Image(rng.uniform(1, 2, (8, 8, 8)).astype(np.float32), np.eye(4)), folder / "t1c.nii.gz")
    if mask:
        labels = np.zeros((8, 8, 8), np.uint8)
        labels[2:5, 2:5, 2:5] = 1
        nibabel.save(nibabel.Nifti1Image(labels, np.eye(4)), folder / "seg.nii.gz")
    return folder


def stand_in(case, _reader, progress=None):
    """What `embed_case` would give: a vector that is the scan's own; a case called "bad" cannot be read."""
    if "bad" in case.id:
        raise InvalidImage(f"{case.t1c} shows nothing.")
    if progress is not None:
        progress(0.5, case.id)
    scan = read_volume(case.t1c)
    rng = np.random.default_rng(int(voxels_sha256(scan)[:8], 16))
    vector = DEFAULT_LAYOUT.combine({name: rng.normal(size=size) for name, size in DEFAULT_LAYOUT.blocks})
    tumor = Tumor(box=Box.aligned((4, 4, 4), (3, 3, 3)), type="glioma", core_ml=0.027)
    found = replace(case, tumors=(tumor,), voxels_sha256=voxels_sha256(scan))
    if case.mask is not None:
        return EmbeddedCase(found, vector[None])
    labels = np.zeros(scan.shape, np.uint8)
    labels.flat[rng.integers(512, size=40)] = 1
    made = replace(found, mask_labels=NETWORK_LABELS, mask_origin="network")
    return EmbeddedCase(made, vector[None], LabelMap(labels, scan.affine), ["Its place is unknown."])


def use_stand_in(patch):
    """Let `engine.archive` read cases with the stand-in; `patch` is a function like setattr."""
    reader = SimpleNamespace(model=SimpleNamespace(contract=CONTRACT), device=SimpleNamespace(type="cpu"))
    patch(archive, "tumor_reader", lambda *_: reader)
    patch(archive, "embed_case", stand_in)
