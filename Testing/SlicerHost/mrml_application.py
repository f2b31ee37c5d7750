"""Slicer's application logic on the wheel slicer-core: one scene and the logics of the modules, without any Qt.

The order matters and follows what Slicer's core application does at its start: colours come first, because the other
logics ask for the colour logic's nodes, and reading .mrb files needs the remote IO logic with a cache folder.
"""

import tempfile
from functools import cache
from pathlib import Path

import slicer
import vtk

LOGICS = {
    "Markups": "vtkSlicerMarkupsLogic",
    "Volumes": "vtkSlicerVolumesLogic",
    "Segmentations": "vtkSlicerSegmentationsModuleLogic",
    "SubjectHierarchy": "vtkSlicerSubjectHierarchyModuleLogic",
    "Transforms": "vtkSlicerTransformLogic",
    "Models": "vtkSlicerModelsLogic",
    "Tables": "vtkSlicerTablesLogic",
    "Texts": "vtkSlicerTextsLogic",
    "Cameras": "vtkSlicerCamerasModuleLogic",
    "Units": "vtkSlicerUnitsLogic",
}
"""Module -> its logic class, in the order in which they are set up (after Colors)."""


@cache
def mrml_application() -> "MrmlApplication":
    """The one application of this process: the factories of displayable managers know only one."""
    return MrmlApplication()


class MrmlApplication:
    """A scene with everything that Slicer puts around it before the first module opens.

    It also becomes `slicer.mrmlScene`, where `slicer.util` looks for the scene.
    """

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="slicer-host-")
        self.scene = slicer.vtkMRMLScene()
        self.logic = slicer.vtkSlicerApplicationLogic()
        self.logics = {}
        self._add_crosshair()
        self.logic.SetMRMLScene(self.scene)
        self.logic.SetTemporaryPath(self._folder.name)
        self._set_up_colors()
        self.logic.SetSliceLogics(vtk.vtkCollection())
        self.logic.SetViewLogics(vtk.vtkCollection())
        for factory in (
            slicer.vtkMRMLThreeDViewDisplayableManagerFactory,
            slicer.vtkMRMLSliceViewDisplayableManagerFactory,
        ):
            factory.GetInstance().SetMRMLApplicationLogic(self.logic)
        self._set_up_file_cache()
        self._set_up_module_logics()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(self.scene, True)
        self.layout_logic = slicer.vtkMRMLLayoutLogic()
        self.layout_logic.SetMRMLApplicationLogic(self.logic)
        self.layout_logic.SetMRMLScene(self.scene)
        slicer.mrmlScene = self.scene

    @property
    def layout_node(self):
        """The node that says which layout is shown."""
        return self.layout_logic.GetLayoutNode()

    @property
    def folder(self) -> Path:
        """Where unpacked scenes and other temporary files are kept; removed at exit."""
        return Path(self._folder.name)

    def close_scene(self) -> None:
        """What File > Close Scene does."""
        self.scene.Clear(0)

    def _add_crosshair(self) -> None:
        crosshair = slicer.vtkMRMLCrosshairNode()
        crosshair.SetCrosshairName("default")
        self.scene.AddNode(crosshair)

    def _set_up_colors(self) -> None:
        colors = self.logic.GetColorLogic()
        colors.SetMRMLScene(self.scene)
        colors.AddDefaultColorNodes()
        self.logic.SetModuleLogic("Colors", colors)
        self.logics["Colors"] = colors

    def _set_up_file_cache(self) -> None:
        self._remote_io = slicer.vtkMRMLRemoteIOLogic()
        self._remote_io.SetMRMLScene(self.scene)
        self._remote_io.SetMRMLApplicationLogic(self.logic)
        self._remote_io.GetCacheManager().SetRemoteCacheDirectory(self._folder.name)
        self._data_io = slicer.vtkDataIOManagerLogic()
        self._data_io.SetMRMLScene(self.scene)
        self._data_io.SetMRMLApplicationLogic(self.logic)
        self._data_io.SetAndObserveDataIOManager(self._remote_io.GetDataIOManager())
        self._remote_io.AddDataIOToScene()

    def _set_up_module_logics(self) -> None:
        for name, class_name in LOGICS.items():
            logic = getattr(slicer, class_name)()
            logic.SetMRMLScene(self.scene)
            logic.SetMRMLApplicationLogic(self.logic)
            self.logic.SetModuleLogic(name, logic)
            self.logics[name] = logic
