"""A known case in the scene: its scan, its outlined tumor, and the transform that brings both to the patient."""

import json
from dataclasses import dataclass

import numpy as np

from TumorRetrievalGui.parameters import Align
from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.scene.matrices import to_vtk
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor
from TumorRetrievalLib.scene.transforms import onto_lesion, through_atlas
from TumorRetrievalLib.scene.volumes import add_volume

_KEY, _PLACE, _TUMOR = "TumorRetrieval.Case", "TumorRetrieval.Place", "TumorRetrieval.Tumor"


@dataclass(frozen=True, eq=False)
class CaseImages:
    """What is shown of a case.

    :param core: :param whole: masks, None where the case has none.
    :param center: middle of its lesion, RAS mm of the case.
    :param registration: case RAS mm -> atlas RAS mm, shape (4, 4); None if that is not known.
    """

    t1c: Volume
    core: LabelMap | None
    whole: LabelMap | None
    center: np.ndarray
    registration: np.ndarray | None


def addCase(scene, key: list[str], name: str, images: CaseImages) -> list:
    """Put a case into the scene. :returns: its nodes, the volume first."""
    volume = add_volume(scene, images.t1c, name)
    transform = scene.AddNewNodeByClass("vtkMRMLTransformNode", f"{name}: onto the patient")
    volume.SetAndObserveTransformNodeID(transform.GetID())
    toAtlas = None if images.registration is None else images.registration.tolist()
    volume.SetAttribute(_KEY, json.dumps(key))
    volume.SetAttribute(_PLACE, json.dumps({"center": [float(x) for x in images.center], "to_atlas": toAtlas}))
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


def alignCase(volume, align: Align, center, toAtlas) -> bool:
    """Bring a case to the patient.

    :param center: middle of the patient's lesion, RAS mm.
    :param toAtlas: patient RAS mm -> atlas RAS mm, shape (4, 4), or None.
    :returns: False where brains were to be aligned and one of the two is not known in the atlas; the tumors are then.
    """
    place = json.loads(volume.GetAttribute(_PLACE))
    byBrain = align is Align.BRAIN and toAtlas is not None and place["to_atlas"] is not None
    matrix = through_atlas(place["to_atlas"], toAtlas) if byBrain else onto_lesion(place["center"], center)
    volume.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(matrix))
    return byBrain or align is Align.TUMOR
