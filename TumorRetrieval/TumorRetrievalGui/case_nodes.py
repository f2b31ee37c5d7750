"""A known case in the scene: its scan, its outlined tumor, and the transform that brings both to the patient."""

import json
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.scene.matrices import to_vtk
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor
from TumorRetrievalLib.scene.transforms import onto_lesion
from TumorRetrievalLib.scene.volumes import add_volume

_KEY, _CENTER, _TUMOR = "TumorRetrieval.Case", "TumorRetrieval.Center", "TumorRetrieval.Tumor"


@dataclass(frozen=True, eq=False)
class CaseImages:
    """What is shown of a case.

    :param core: :param whole: masks, None where the case has none.
    :param center: middle of its lesion, RAS mm of the case.
    :param provenance: where it is from; begins with "synthetic" if nobody was scanned.
    """

    t1c: Volume
    core: LabelMap | None
    whole: LabelMap | None
    center: np.ndarray
    provenance: str


def addCase(scene, key: list[str], name: str, images: CaseImages) -> list:
    """Put a case into the scene. :returns: its nodes, the volume first."""
    volume = add_volume(scene, images.t1c, name)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", f"{name}: onto the patient")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    volume.SetAttribute(_KEY, json.dumps(key))
    volume.SetAttribute(_CENTER, json.dumps([float(x) for x in images.center]))
    nodes = [volume, transform]
    masks = {part: mask for part, mask in ((TUMOR_CORE, images.core), (WHOLE_TUMOR, images.whole)) if mask is not None}
    if masks:
        tumor = add_tumor(scene, masks, f"{name}: tumor", volume)
        volume.SetNodeReferenceID(_TUMOR, tumor.GetID())
        nodes.append(tumor)
    return nodes


def keyOf(volume) -> list[str]:
    """Which tumor of the index a volume shows; [] if it is no case of ours."""
    return json.loads(volume.GetAttribute(_KEY) or "[]")


def tumorOf(volume):
    """The outlined tumor of a case, or None."""
    return volume.GetNodeReference(_TUMOR)


def alignCase(volume, center) -> None:
    """Bring the lesion of a case to where the patient's is. :param center: its middle in the patient, RAS mm."""
    matrix = onto_lesion(json.loads(volume.GetAttribute(_CENTER)), center)
    volume.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(matrix))
