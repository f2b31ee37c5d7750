"""A known case in the scene: its scan, its outlined tumor, and the transform that brings both to the patient."""

import json
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.imaging.volume import LabelMap, Volume
from TumorRetrievalLib.scene.matrices import to_vtk
from TumorRetrievalLib.scene.segmentations import TUMOR_CORE, WHOLE_TUMOR, add_tumor
from TumorRetrievalLib.scene.transforms import onto_lesion, through_atlas
from TumorRetrievalLib.scene.volumes import add_volume

_KEY, _CENTER, _TUMOR = "TumorRetrieval.Case", "TumorRetrieval.Center", "TumorRetrieval.Tumor"
_TO_ATLAS = "TumorRetrieval.ToAtlas"


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


def setPlace(volume, toAtlas: list | None) -> None:
    """Remember where a case lies in the atlas. :param toAtlas: case RAS mm -> MNI152 mm, 4 x 4; None if unknown."""
    volume.SetAttribute(_TO_ATLAS, json.dumps(toAtlas))


def hasPlace(volume) -> bool:
    """Whether it has been found out where a case lies in the atlas; it may be that this is unknown."""
    return volume.GetAttribute(_TO_ATLAS) is not None


def placeOf(volume) -> list | None:
    """Case RAS mm -> MNI152 mm, 4 x 4; None if that is unknown."""
    return json.loads(volume.GetAttribute(_TO_ATLAS) or "null")


def alignCase(volume, center, patientToAtlas=None) -> None:
    """Bring a case to the patient.

    :param center: the middle of the patient's lesion, RAS mm; the case's is brought there, unless
    :param patientToAtlas: is given (patient RAS mm -> MNI152 mm, 4 x 4) and the case's place in the atlas is known:
        then every place of its brain is brought to the same place of the patient's.
    """
    if patientToAtlas is not None and (caseToAtlas := placeOf(volume)) is not None:
        matrix = through_atlas(caseToAtlas, patientToAtlas)
    else:
        matrix = onto_lesion(json.loads(volume.GetAttribute(_CENTER)), center)
    volume.GetParentTransformNode().SetMatrixTransformToParent(to_vtk(matrix))
