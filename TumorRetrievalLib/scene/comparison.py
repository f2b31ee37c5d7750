"""The patient and similar cases side by side, in linked views.

Three traps of Slicer's linked views, and what is done about them:

- Linking copies the geometry of a slice and nothing else, so every case must lie in the patient's space: see
  `transforms`.
- Linking follows the hand of a user alone: a slice that a program moves stays alone. `show_at` moves all of them.
- A volume that a user chooses in one linked view is shown by all views of its group. `ColumnGuard` puts back what
  belongs into each column.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import vtk

from TumorRetrievalLib.scene.segmentations import add_surface
from TumorRetrievalLib.scene.views import (
    COLUMNS,
    THREE_D_VIEW,
    Column,
    Plane,
    comparison_slices,
    composite_node,
    gather,
    growing_layout_id,
    layout_id,
    plan_of,
    register_layouts,
    three_d_view,
)

_PREVIOUS_LAYOUT = "TumorRetrieval.PreviousLayout"
_BACKGROUND, _FOREGROUND = "TumorRetrieval.Background", "TumorRetrieval.Foreground"
_OVERLAY_OPACITY = 0.6


@dataclass(frozen=True)
class Shown:
    """What one column shows.

    :param volume: its scan.
    :param tumor: the outlined tumor of that scan, if there is one.
    :param overlay: a volume to lay over the scan, a growth map for example.
    """

    volume: object
    tumor: object = None
    overlay: object = None


def show_comparison(scene, patient: Shown, cases: list[Shown], plane: Plane = "Sagittal") -> None:
    """Change to the comparison of a patient with 1 to 6 cases.

    The layout that was shown before is remembered for `leave_comparison`, in the scene.

    :param plane: of the second row; the first is axial.
    """
    _arrange(scene, layout_id(len(cases), plane))
    _clear_the_air(scene)
    for column, shown in zip(COLUMNS, (patient, *cases), strict=False):
        fill_column(scene, column, shown)
    set_linked(scene, True)


def growing_comparison(
    scene, patient: Shown, cases: list[Shown], plane: Plane = "Sagittal", *, columns: int = 0
) -> Iterator[None]:
    """`show_comparison` in steps, for a caller who lets events happen after each: a view that is shown for the first
    time takes some 20 ms to be made and as much to be painted, and a comparison has up to 15 of them.

    :param columns: how many have been shown before; they need no steps.
    """
    for column, shown in list(zip(COLUMNS, (patient, *cases), strict=False))[columns:]:
        _arrange(scene, growing_layout_id(column.position, plane))
        yield
        fill_column(scene, column, shown)
        yield
    show_comparison(scene, patient, cases, plane)


def _arrange(scene, identifier: int) -> None:
    """Change to a layout of ours, and remember the one before if it was none."""
    register_layouts(scene)
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    before = layout.GetViewArrangement()
    if plan_of(before) is None:
        layout.SetAttribute(_PREVIOUS_LAYOUT, str(before))
    layout.SetViewArrangement(identifier)
    gather(scene)


def leave_comparison(scene) -> None:
    """Change back to the layout before the comparison, unless the user has changed it already."""
    layout = scene.GetFirstNodeByClass("vtkMRMLLayoutNode")
    previous = layout.GetAttribute(_PREVIOUS_LAYOUT)
    if plan_of(layout.GetViewArrangement()) is not None and previous is not None:
        layout.SetViewArrangement(int(previous))
    layout.RemoveAttribute(_PREVIOUS_LAYOUT)


def is_shown(scene) -> bool:
    """Whether a comparison is what the user sees."""
    return plan_of(scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement()) is not None


def fill_column(scene, column: Column, shown: Shown) -> None:
    """Give a column its scan, its overlay and its outlined tumor, and let no other column show that tumor.

    The patient's tumor is also shown in the 3D view.
    """
    for name in column.view_names():
        if (composite := composite_node(scene, name)) is not None:
            composite.SetNodeReferenceID(_BACKGROUND, shown.volume.GetID())
            composite.SetNodeReferenceID(_FOREGROUND, shown.overlay.GetID() if shown.overlay else None)
            _put_back(composite)
            composite.SetForegroundOpacity(_OVERLAY_OPACITY if shown.overlay else 0.0)
    if shown.tumor is not None:
        confine(scene, shown.tumor, column)
        if column.position == 0:
            add_surface(shown.tumor)


def lay_over(scene, scans: list, overlay, opacity: float) -> None:
    """Lay a volume over scans in every view that shows one of them, in columns and elsewhere.

    :param opacity: 0 to 1.
    """
    shown = {scan.GetID() for scan in scans}
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLSliceCompositeNode")):
        composite = scene.GetNthNodeByClass(i, "vtkMRMLSliceCompositeNode")
        if composite.GetBackgroundVolumeID() in shown:
            if composite.GetNodeReferenceID(_BACKGROUND) is not None:
                composite.SetNodeReferenceID(_FOREGROUND, overlay.GetID())
            composite.SetForegroundVolumeID(overlay.GetID())
            composite.SetForegroundOpacity(opacity)


def volumes_shown(scene) -> list:
    """The scans of the columns that are shown, the patient's first; None for a column whose scan was deleted."""
    plan = plan_of(scene.GetFirstNodeByClass("vtkMRMLLayoutNode").GetViewArrangement())
    if plan is None:
        return []
    composites = [composite_node(scene, column.view_name("Axial")) for column in COLUMNS[: plan[0] + 1]]
    return [composite.GetNodeReference(_BACKGROUND) if composite else None for composite in composites]


def confine(scene, node, column: Column) -> None:
    """Show a box or a segmentation in one column only.

    What belongs to the patient also stays visible in every view outside the comparison; call this again when new
    views have been made. The patient's tumor is what the 3D view shows. What belongs to a case is shown in its column
    alone.
    """
    views = [f"vtkMRMLSliceNode{name}" for name in column.view_names()]
    if column.position == 0:
        ours = {name for other in COLUMNS for name in other.view_names()} | {THREE_D_VIEW}
        views += [view.GetID() for view in _all_views(scene) if view.GetLayoutName() not in ours]
        if node.IsA("vtkMRMLSegmentationNode"):
            views.append(f"vtkMRMLViewNode{THREE_D_VIEW}")
    for i in range(node.GetNumberOfDisplayNodes()):
        node.GetNthDisplayNode(i).SetViewNodeIDs(views)


def set_linked(scene, linked: bool) -> None:
    """Link the views of the comparison, or let each go alone."""
    for view in comparison_slices(scene):
        if (composite := composite_node(scene, view.GetLayoutName())) is not None:
            composite.SetHotLinkedControl(linked)
            composite.SetLinkedControl(linked)


def show_at(scene, center, height_mm: float) -> None:
    """Bring a place into the middle of every view of the comparison, at one scale.

    :param center: RAS mm.
    :param height_mm: how much of the patient a view shows from top to bottom.
    """
    for view in comparison_slices(scene):
        width, height, _ = view.GetDimensions()
        field = view.GetFieldOfView()
        view.SetFieldOfView(height_mm * width / max(height, 1), height_mm, field[2])
        view.JumpSliceByCentering(*(float(x) for x in center))
    if (camera := _camera(scene)) is not None:
        _look_from_the_front(camera, np.asarray(center, float), height_mm)


class ColumnGuard:
    """Puts the right scan back into a column when linking has overwritten it, for as long as it is not stopped.

    What belongs where is kept in the scene, so that a guard of a scene that was read from a file knows it too. It also
    keeps the views of the comparison together when a scene is read.
    """

    def __init__(self, scene):
        self._scene = scene
        self._watched = {}
        self._scene_tags = [
            scene.AddObserver(scene.NodeAddedEvent, lambda *_: self.watch()),
            scene.AddObserver(scene.EndImportEvent, lambda *_: gather(scene)),
        ]
        gather(scene)
        self.watch()

    def watch(self) -> None:
        """Find the views of the comparison; called by itself whenever nodes are added."""
        for column in COLUMNS:
            for name in column.view_names():
                composite = composite_node(self._scene, name)
                if composite is not None and composite not in self._watched:
                    event = vtk.vtkCommand.ModifiedEvent
                    self._watched[composite] = composite.AddObserver(event, lambda node, _: _put_back(node))

    def stop(self) -> None:
        """Let go of the scene."""
        for tag in self._scene_tags:
            self._scene.RemoveObserver(tag)
        for composite, tag in self._watched.items():
            composite.RemoveObserver(tag)
        self._watched = {}


def _put_back(composite) -> None:
    """Show what belongs into a view; a view that nothing was given to is left alone."""
    background = composite.GetNodeReferenceID(_BACKGROUND)
    if background is None or composite.GetNodeReference(_BACKGROUND) is None:
        return
    # Each only if it differs: setting it tells every observer, this guard among them.
    if composite.GetBackgroundVolumeID() != background:
        composite.SetBackgroundVolumeID(background)
    foreground = composite.GetNodeReferenceID(_FOREGROUND)
    if composite.GetForegroundVolumeID() != foreground:
        composite.SetForegroundVolumeID(foreground)


def _clear_the_air(scene) -> None:
    """No cube and no letters around the tumor in the 3D view, which is small."""
    view = three_d_view(scene)
    view.SetBoxVisible(False)
    view.SetAxisLabelsVisible(False)


def _camera(scene):
    """The camera of the comparison's 3D view; None where there are no views."""
    for i in range(scene.GetNumberOfNodesByClass("vtkMRMLCameraNode")):
        node = scene.GetNthNodeByClass(i, "vtkMRMLCameraNode")
        if node.GetLayoutName() == THREE_D_VIEW:
            return node
    return None


def _look_from_the_front(camera, center: np.ndarray, height_mm: float) -> None:
    """The radiologist's side: the patient's right is on the left of the picture."""
    distance = height_mm / 2 / np.tan(np.radians(camera.GetViewAngle() / 2))
    camera.SetFocalPoint(*center.tolist())
    camera.SetPosition(*(center + (0, distance, 0)).tolist())
    camera.SetViewUp(0, 0, 1)
    camera.ResetClippingRange()


def _all_views(scene) -> list:
    return [
        scene.GetNthNodeByClass(i, kind)
        for kind in ("vtkMRMLSliceNode", "vtkMRMLViewNode")
        for i in range(scene.GetNumberOfNodesByClass(kind))
    ]
