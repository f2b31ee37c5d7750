"""What the user has chosen and what was found, kept in the scene and saved with it."""

import json
from enum import Enum


class Around(Enum):
    """What the drawn boxes enclose."""

    CORE = "core"
    WHOLE = "whole"


class Plane(Enum):
    """What the second row of the comparison shows, by the name of its view's orientation."""

    SAGITTAL = "Sagittal"
    CORONAL = "Coronal"


class Alignment(Enum):
    """How opened cases are brought to the patient."""

    LESION = "lesion"
    BRAIN = "brain"


class _Node:
    """A reference to one node; None when there is none, or when it was deleted."""

    def __init__(self, role: str):
        self._role = role

    def __get__(self, parameters, owner=None):
        return self if parameters is None else parameters.node.GetNodeReference(self._role)

    def __set__(self, parameters, node):
        parameters.node.SetNodeReferenceID(self._role, node.GetID() if node else None)


class _Nodes:
    """References to several nodes, in order; deleted ones are left out."""

    def __init__(self, role: str):
        self._role = role

    def __get__(self, parameters, owner=None):
        if parameters is None:
            return self
        node = parameters.node
        nodes = (node.GetNthNodeReference(self._role, i) for i in range(node.GetNumberOfNodeReferences(self._role)))
        return [referenced for referenced in nodes if referenced is not None]

    def __set__(self, parameters, nodes):
        changing = parameters.node.StartModify()
        parameters.node.RemoveNodeReferenceIDs(self._role)
        for node in nodes:
            parameters.node.AddNodeReferenceID(self._role, node.GetID())
        parameters.node.EndModify(changing)


class _Choice:
    """A member of an enumeration, kept by its name."""

    def __init__(self, name: str, default: Enum):
        self._name, self._default = name, default

    def __get__(self, parameters, owner=None):
        if parameters is None:
            return self
        stored = parameters.node.GetParameter(self._name)
        choices = type(self._default).__members__
        # A scene from another version may hold a name that does not exist here.
        return choices.get(stored, self._default)

    def __set__(self, parameters, value: Enum):
        parameters.node.SetParameter(self._name, value.name)


class _Json:
    """Numbers, texts, lists and dictionaries."""

    def __init__(self, name: str, default: str):
        self._name, self._default = name, default

    def __get__(self, parameters, owner=None):
        if parameters is None:
            return self
        try:
            return json.loads(parameters.node.GetParameter(self._name) or self._default)
        except ValueError:  # a damaged scene must not keep the panel from opening
            return json.loads(self._default)

    def __set__(self, parameters, value):
        parameters.node.SetParameter(self._name, json.dumps(value, allow_nan=False))


class QueryParameters:
    """One query in the scene: a typed view of a vtkMRMLScriptedModuleNode, which holds all of its state.

    :param node: the module's parameter node.
    """

    t1c = _Node("T1c")
    flair = _Node("Flair")
    boxes = _Nodes("Box")
    around = _Choice("Around", Around.CORE)
    #: Block -> factor on what it counts by default.
    weights = _Json("Weights", "{}")
    #: Arguments of `retrieval.filters.Filters`.
    filters = _Json("Filters", "{}")
    #: What the worker answered to the last query, or None.
    answer = _Json("Answer", "null")
    #: What the worker needs to rank the answer anew: the text of its `query.json`.
    search = _Json("Search", '""')
    #: Which of the answer's tumors is shown.
    tumor = _Json("Tumor", "0")
    #: Cases that the user called similar, and dissimilar: {"more": [...], "less": [...]}.
    feedback = _Json("Feedback", '{"more": [], "less": []}')
    segmentation = _Node("Segmentation")
    #: The volumes of the cases that were opened beside the patient, in the order of their columns.
    cases = _Nodes("Case")
    plane = _Choice("Plane", Plane.SAGITTAL)
    alignment = _Choice("Alignment", Alignment.LESION)
    #: The volume of the simulated tumor's cell density; what belongs to it hangs on it (`scene.growth`).
    density = _Node("GrowthDensity")
    #: What the worker said of the fit, or None.
    growth = _Json("Growth", "null")
    #: How it is shown: the fields of `growth_logic.GrowthView`.
    overlay = _Json("GrowthView", "{}")

    def __init__(self, node):
        self.node = node

    @property
    def scene(self):
        """The scene that holds the query; None once it has been closed."""
        return self.node.GetScene()

    def forgetAnswer(self) -> None:
        """Back to before anything was found; what was chosen stays."""
        changing = self.node.StartModify()
        self.answer, self.search, self.tumor = None, "", 0
        self.segmentation, self.cases = None, []
        self.density, self.growth = None, None
        self.feedback = {"more": [], "less": []}
        self.node.EndModify(changing)


def volumesIn(scene) -> list:
    """The scans that can be chosen: volumes with one value per voxel, no label maps, in the scene's order."""
    count = scene.GetNumberOfNodesByClass("vtkMRMLScalarVolumeNode")
    nodes = [scene.GetNthNodeByClass(i, "vtkMRMLScalarVolumeNode") for i in range(count)]
    return [node for node in nodes if node.GetClassName() == "vtkMRMLScalarVolumeNode"]


def guessScans(parameters: QueryParameters) -> None:
    """Choose the scan on the screen as T1c, and one called FLAIR beside it, where nothing is chosen yet."""
    scene = parameters.scene
    volumes = [node for node in volumesIn(scene) if not node.GetHideFromEditors()]
    isFlair = {node.GetID(): "flair" in node.GetName().lower() for node in volumes}
    if parameters.t1c is None:
        shown = _onScreen(scene)
        candidates = [node for node in volumes if not isFlair[node.GetID()]] or volumes
        parameters.t1c = shown if shown in candidates else next(iter(candidates), None)
    if parameters.flair is None and parameters.answer is None:
        flairs = [node for node in volumes if isFlair[node.GetID()] and node is not parameters.t1c]
        parameters.flair = next(iter(flairs), None)


def _onScreen(scene):
    """The volume behind the first slice view that has one."""
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(i, "vtkMRMLSliceCompositeNode")
        node = scene.GetNodeByID(composite.GetBackgroundVolumeID() or "")
        if node is not None:
            return node
    return None
