"""The views of the comparison: one column for the patient, one for each case, two rows, and a 3D view below.

The layouts have identifiers, view names and a view group of their own, so that no layout of Slicer or of the user is
overwritten, and linking reaches no view outside the comparison.
"""

from dataclasses import dataclass
from typing import Literal

Plane = Literal["Sagittal", "Coronal"]

MOST_CASES = 6
VIEW_GROUP = 74
THREE_D_VIEW = "TumorRetrieval3D"

_FIRST_LAYOUT, _FIRST_GROWING_LAYOUT = 7400, 7440
_LAYOUTS_PER_PLANE = 10
_PLANES: tuple[Plane, ...] = ("Sagittal", "Coronal")
_PATIENT_COLOR, _CASE_COLOR = "#6FB8E8", "#C9C9C9"
_SLICES_SHARE, _THREE_D_SHARE = 760, 240


@dataclass(frozen=True)
class Column:
    """One column of the comparison.

    :param position: 0 is the patient, 1 to 6 are the cases.
    """

    position: int

    def view_name(self, plane: str) -> str:
        """The name of its view of a plane, which is the singleton tag of its node."""
        owner = "Query" if self.position == 0 else f"Case{self.position}"
        return f"TumorRetrieval{owner}{plane}"

    def view_names(self) -> list[str]:
        """The names of all its views, shown at present or not."""
        return [self.view_name(plane) for plane in ("Axial", *_PLANES)]

    @property
    def label(self) -> str:
        """What stands above its views."""
        return "P" if self.position == 0 else str(self.position)


COLUMNS = tuple(Column(position) for position in range(MOST_CASES + 1))


def layout_id(cases: int, plane: Plane) -> int:
    """The layout of a number of cases with a plane in its second row.

    :raises ValueError: unless there are 1 to 6 cases.
    """
    if not 1 <= cases <= MOST_CASES:
        raise ValueError(f"A comparison shows 1 to {MOST_CASES} cases, not {cases}.")
    return _FIRST_LAYOUT + _LAYOUTS_PER_PLANE * _PLANES.index(plane) + cases


def growing_layout_id(cases: int, plane: Plane) -> int:
    """The layout on the way to a comparison: the patient and its first 0 to 6 cases, and no 3D view yet."""
    return _FIRST_GROWING_LAYOUT + _LAYOUTS_PER_PLANE * _PLANES.index(plane) + cases


def plan_of(layout: int) -> tuple[int, Plane] | None:
    """The number of cases and the plane of a layout; None if it is none of ours."""
    for first, fewest in ((_FIRST_LAYOUT, 1), (_FIRST_GROWING_LAYOUT, 0)):
        plane, cases = divmod(layout - first, _LAYOUTS_PER_PLANE)
        if 0 <= plane < len(_PLANES) and fewest <= cases <= MOST_CASES:
            return cases, _PLANES[plane]
    return None


def register_layouts(scene) -> None:
    """Tell Slicer about the comparison's layouts; to be called when the module is set up, before scenes are read."""
    node = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    descriptions = {}
    for plane in _PLANES:
        for cases in range(MOST_CASES + 1):
            descriptions[growing_layout_id(cases, plane)] = _columns(cases, plane)
        for cases in range(1, MOST_CASES + 1):
            descriptions[layout_id(cases, plane)] = _description(cases, plane)
    for identifier, description in descriptions.items():
        if node.IsLayoutDescription(identifier):
            node.SetLayoutDescription(identifier, description)
        else:
            node.AddLayoutDescription(identifier, description)


def slice_node(scene, name: str):
    """The slice node of a view; None before its layout has been shown for the first time."""
    return scene.GetSingletonNode(name, "vtkMRMLSliceNode")


def composite_node(scene, name: str):
    """What a slice view shows; None where there are no views."""
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        node = scene.GetNthNodeByClass(i, "vtkMRMLSliceCompositeNode")
        if node.GetLayoutName() == name:
            return node
    return None


def three_d_view(scene):
    """The node of the comparison's 3D view; None before it has been shown for the first time."""
    return scene.GetSingletonNode(THREE_D_VIEW, "vtkMRMLViewNode")


def gather(scene) -> None:
    """Put every view of the comparison into its group.

    The layout says so for new views only, and reading a scene from a file leaves views in group 1 (slicer-core 5.13):
    the columns would be linked with views of the user, and not with columns that are made later.
    """
    views = [slice_node(scene, name) for column in COLUMNS for name in column.view_names()]
    for view in (*views, three_d_view(scene)):
        if view is not None:
            view.SetViewGroup(VIEW_GROUP)


def comparison_slices(scene) -> list:
    """The slice nodes of the comparison that is shown, column by column; [] if none is."""
    plan = plan_of(scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement())
    if plan is None:
        return []
    cases, plane = plan
    names = [column.view_name(row) for column in COLUMNS[: cases + 1] for row in ("Axial", plane)]
    return [node for name in names if (node := slice_node(scene, name)) is not None]


def _columns(cases: int, plane: Plane) -> str:
    """Slicer's XML of the columns."""
    columns = "".join(
        '<item><layout type="vertical">'
        + "".join(f"<item>{_slice_view(column, row)}</item>" for row in ("Axial", plane))
        + "</layout></item>"
        for column in COLUMNS[: cases + 1]
    )
    return f'<layout type="horizontal">{columns}</layout>'


def _description(cases: int, plane: Plane) -> str:
    """Slicer's XML of a layout: the columns, and the 3D view below them."""
    return (
        '<layout type="vertical" split="true">'
        f'<item splitSize="{_SLICES_SHARE}">{_columns(cases, plane)}</item>'
        f'<item splitSize="{_THREE_D_SHARE}">'
        f'<view class="vtkMRMLViewNode" singletontag="{THREE_D_VIEW}">'
        '<property name="viewlabel" action="default">T</property>'
        f'<property name="viewgroup" action="default">{VIEW_GROUP}</property></view></item></layout>'
    )


def _slice_view(column: Column, plane: str) -> str:
    color = _PATIENT_COLOR if column.position == 0 else _CASE_COLOR
    return (
        f'<view class="vtkMRMLSliceNode" singletontag="{column.view_name(plane)}">'
        f'<property name="orientation" action="default">{plane}</property>'
        f'<property name="viewlabel" action="default">{column.label}</property>'
        f'<property name="viewcolor" action="default">{color}</property>'
        f'<property name="viewgroup" action="default">{VIEW_GROUP}</property></view>'
    )
