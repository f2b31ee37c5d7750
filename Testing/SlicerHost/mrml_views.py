"""Slice and 3D views rendered in memory by Slicer's own displayable managers.

The lists of displayable managers follow trame-slicer (https://github.com/KitwareMedical/trame-slicer, Apache-2.0),
without volume rendering and glyphs: those take up to a second per frame on a software renderer.
"""

from abc import ABC, abstractmethod

import slicer
import vtk
import vtkmodules.vtkInteractionStyle
import vtkmodules.vtkRenderingOpenGL2  # noqa: F401 - registers the renderer
from vtk.util.numpy_support import vtk_to_numpy

SLICE_MANAGERS = (
    "vtkMRMLCrosshairDisplayableManager",
    "vtkMRMLModelSliceDisplayableManager",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLScalarBarDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager2D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager2D",
    "vtkMRMLLinearTransformsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
THREE_D_MANAGERS = (
    "vtkMRMLCameraDisplayableManager",
    "vtkMRMLViewDisplayableManager",
    "vtkMRMLModelDisplayableManager",
    "vtkMRMLThreeDReformatDisplayableManager",
    "vtkMRMLCrosshairDisplayableManager3D",
    "vtkMRMLOrientationMarkerDisplayableManager",
    "vtkMRMLRulerDisplayableManager",
    "vtkMRMLSegmentationsDisplayableManager3D",
    "vtkMRMLMarkupsDisplayableManager",
    "vtkMRMLTransformsDisplayableManager3D",
    "vtkMRMLLinearTransformsDisplayableManager",
    "vtkMRMLColorLegendDisplayableManager",
)
_FIRST_SIZE = (400, 400)


class MrmlView(ABC):
    """One view: a render window in memory, its interactor and its displayable managers.

    :param application: the `MrmlApplication` whose scene is shown.
    :param name: the singleton tag of the view's node, "Red" for example.
    """

    factory = None
    managers = ()

    def __init__(self, application, name: str):
        self.application = application
        self.name = name
        self.needs_rendering = True
        self.on_change = lambda: None
        self.renderer = vtk.vtkRenderer()
        self.window = vtk.vtkRenderWindow()
        self.window.SetOffScreenRendering(1)
        self.window.SetShowWindow(False)
        self.window.SetMultiSamples(0)
        self.window.AddRenderer(self.renderer)
        self.interactor = vtk.vtkGenericRenderWindowInteractor()
        self.interactor.SetRenderWindow(self.window)
        # A frame is rendered when Qt paints, not at each event.
        self.interactor.EnableRenderOff()
        self.window.SetSize(*_FIRST_SIZE)
        self.interactor.SetSize(*_FIRST_SIZE)
        self.interactor.Initialize()
        self._set_up_node()
        self.group = self._displayable_managers()
        self.group.AddObserver(vtk.vtkCommand.UpdateEvent, lambda *_: self.schedule_render())
        self._connect()

    def _displayable_managers(self):
        factory = self.factory.GetInstance()
        for name in self.managers:
            if not factory.IsDisplayableManagerRegistered(name):
                factory.RegisterDisplayableManager(name)
        group = slicer.vtkMRMLDisplayableManagerGroup()
        group.SetRenderer(self.renderer)
        group.Initialize(factory, self.renderer)
        return group

    @abstractmethod
    def _set_up_node(self) -> None:
        """Find or make the view's node and logic, and put into the renderer what lies under everything else."""

    @abstractmethod
    def _connect(self) -> None:
        """Give the node to the displayable managers and the events to Slicer's interactor style."""

    def schedule_render(self) -> None:
        """Say that the last frame is out of date."""
        self.needs_rendering = True
        self.on_change()

    def render(self) -> None:
        """Draw a frame now."""
        self.window.Render()
        self.needs_rendering = False

    def resize(self, width: int, height: int) -> None:
        """Follow the widget that shows this view."""
        self.window.SetSize(width, height)
        self.interactor.UpdateSize(width, height)
        self.schedule_render()

    def pixels(self):
        """The present frame, uint8, shape (height, width, 3), first row at the top."""
        if self.needs_rendering:
            self.render()
        grabber = vtk.vtkWindowToImageFilter()
        grabber.SetInput(self.window)
        grabber.ReadFrontBufferOff()
        grabber.ShouldRerenderOff()
        grabber.Update()
        image = grabber.GetOutput()
        width, height, _ = image.GetDimensions()
        return vtk_to_numpy(image.GetPointData().GetScalars()).reshape(height, width, -1)[::-1, :, :3].copy()


class SliceView(MrmlView):
    """A slice through the scene, with Slicer's slice logic and interactor style."""

    factory = slicer.vtkMRMLSliceViewDisplayableManagerFactory
    managers = SLICE_MANAGERS

    def _set_up_node(self):
        self.renderer.GetActiveCamera().ParallelProjectionOn()
        self._add_image_actor()
        application = self.application
        self.logic = slicer.vtkMRMLSliceLogic()
        self.logic.SetMRMLApplicationLogic(application.logic)
        application.logic.GetSliceLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(application.scene)
        # The layout logic has made the node from the layout's description, with its orientation, group and colour.
        self.node = application.scene.GetSingletonNode(self.name, "vtkMRMLSliceNode")
        self.logic.SetSliceNode(self.node)
        self.composite_node = self.logic.GetSliceCompositeNode()

    def _add_image_actor(self) -> None:
        # Before the displayable managers add theirs: a filled outline drawn before the image hides it.
        self._mapper = vtk.vtkImageMapper()
        self._mapper.SetColorWindow(255)
        self._mapper.SetColorLevel(127.5)
        self._actor = vtk.vtkActor2D()
        self._actor.SetMapper(self._mapper)
        self._actor.GetProperty().SetDisplayLocationToBackground()
        self._actor.SetVisibility(False)
        self.renderer.AddViewProp(self._actor)

    def _connect(self):
        self.style = slicer.vtkMRMLSliceViewInteractorStyle()
        self.style.SetSliceLogic(self.logic)
        self.group.SetMRMLDisplayableNode(self.node)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyleUser())
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.logic.AddObserver(vtk.vtkCommand.ModifiedEvent, lambda *_: self._show_image())
        self.resize(*self.window.GetSize())
        self._show_image()

    def _show_image(self) -> None:
        connection = self.logic.GetImageDataConnection()
        self._mapper.SetInputConnection(connection)
        self._actor.SetVisibility(connection is not None)
        self.schedule_render()

    def resize(self, width, height):
        super().resize(width, height)
        self.logic.ResizeSliceNode(width, height)


class ThreeDView(MrmlView):
    """A 3D view, with Slicer's camera and interactor style."""

    factory = slicer.vtkMRMLThreeDViewDisplayableManagerFactory
    managers = THREE_D_MANAGERS

    def _set_up_node(self):
        application = self.application
        self.logic = slicer.vtkMRMLViewLogic()
        self.logic.SetMRMLApplicationLogic(application.logic)
        application.logic.GetViewLogics().AddItem(self.logic)
        self.logic.SetMRMLScene(application.scene)
        self.node = application.scene.GetSingletonNode(self.name, "vtkMRMLViewNode")
        self.renderer.SetUseDepthPeeling(1)

    def _connect(self):
        self.style = slicer.vtkMRMLThreeDViewInteractorStyle()
        self.style.SetDisplayableManagers(self.group)
        self.style.SetInteractor(self.interactor)
        self.interactor.SetInteractorStyle(vtk.vtkInteractorStyle3D())
        self.group.SetMRMLDisplayableNode(self.node)

    def reset_focal_point(self) -> None:
        """Bring everything that is visible into the view."""
        self.renderer.ResetCamera()
        self.schedule_render()
