"""A worker that fits growth simulations, and hands to press and slide with."""

from pathlib import Path

import numpy as np
import pytest

from Testing.Python.gui.panels.conftest import CENTER, wait_until
from TumorRetrievalLib.imaging.volume import Grid, Volume

SHIFT = (5.0, 20.0, -10.0)
"""From the made-up patient to the atlas, mm."""
AGES, MATCHES = 4, 3


def ball_of_cells(radius: float) -> Volume:
    """Density around the patient's tumor, in the atlas."""
    grid = Grid.around(np.add(CENTER, SHIFT), 2.0, (40, 40, 40))
    distance = np.linalg.norm(grid.voxel_centres() - np.add(CENTER, SHIFT), axis=1)
    return Volume(np.clip(1.2 - distance / radius, 0, 1).reshape(grid.shape), grid.affine)


def ages(radius: float) -> list[Volume]:
    return [ball_of_cells(radius * age / AGES) for age in range(1, AGES + 1)]


def grown(number: int) -> dict:
    """What the worker says of a simulated tumor."""
    overlap = {"core": 0.7 - number / 10, "whole": 0.8 - number / 10, "combined": 1.5 - number / 5}
    return {**overlap, "origin_atlas_mm": [1.0, 2.0, 3.0], "lambda_mm2": 4.0 + number, "tau": 12.0}


def fit() -> dict:
    """What the worker answers to a fit."""
    days = [{"days": d, "rho_per_day": 12 / d, "d_mm2_per_day": 48 / d} for d in (100.0, 400.0, 1200.0)]
    return {
        "parameters": {**grown(0), "same_tumor": days},
        "dice": {"retrieval": grown(1), "refined": grown(0), "in_patient": grown(0)},
        "matches": [grown(number) for number in range(1, MATCHES + 1)],
        "registration": {"stage": "affine"},
        "notes": ["The tumor has several foci."],
        "files": {"overlay": "overlay.npz"},
    }


@pytest.fixture
def growing(worker):
    """The worker that also fits simulations, and grows the matches: match n has a radius of 10 n mm."""
    from TumorRetrievalLib.worker.growth_files import Overlay, write_overlay, write_stages

    def growth(arguments):
        to_atlas = np.eye(4)
        to_atlas[:3, 3] = SHIFT
        write_overlay(Path(arguments["out"]) / "overlay.npz", Overlay(ages(30.0), ball_of_cells(12.0), to_atlas))
        return fit()

    def growth_stages(arguments):
        write_stages(Path(arguments["out"]) / "stages.npz", ages(10.0 * (arguments["lambda_mm2"] - 4.0)))
        return {"files": {"stages": "stages.npz"}}

    worker.answers |= {"growth": growth, "growth_stages": growth_stages}
    return worker


@pytest.fixture
def searched(growing, answered):
    """The panels after a search, back in the views before the comparison, with the section of the growth unfolded."""
    answered.compare.close()
    answered.growthPanel.ui.growthSection.collapsed = False
    return answered


@pytest.fixture
def fitted(searched):
    """The panels with a simulation over the patient."""
    press(searched.growthPanel.ui.fitButton)
    wait_until(lambda: searched.growth.fit is not None)
    return searched


def press(button) -> None:
    """Bring a button into sight and click on it."""
    import slicer
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    slicer.app.window.panel.ensureWidgetVisible(button)
    QTest.mouseClick(button, Qt.LeftButton)


def slide(slider, to: int) -> None:
    """Drag a slider's handle with the mouse, as near to a value as pixels allow."""
    import slicer
    from PySide6.QtCore import QPoint, Qt
    from PySide6.QtTest import QTest
    from PySide6.QtWidgets import QStyle, QStyleOptionSlider

    slicer.app.window.panel.ensureWidgetVisible(slider)
    option = QStyleOptionSlider()
    slider.initStyleOption(option)
    handle = slider.style().subControlRect(QStyle.CC_Slider, option, QStyle.SC_SliderHandle, slider)
    room = slider.width - handle.width()
    share = (to - slider.minimum) / (slider.maximum - slider.minimum)
    end = QPoint(round(handle.width() / 2 + share * room), handle.center().y())
    QTest.mousePress(slider, Qt.LeftButton, Qt.NoModifier, handle.center())
    QTest.mouseMove(slider, (handle.center() + end) / 2)
    QTest.mouseMove(slider, end)
    QTest.mouseRelease(slider, Qt.LeftButton, Qt.NoModifier, end)


def click_on_row(listWidget, row: int) -> None:
    import slicer
    from PySide6.QtCore import Qt
    from PySide6.QtTest import QTest

    slicer.app.window.panel.ensureWidgetVisible(listWidget)
    item = listWidget.item(row)
    listWidget.scrollToItem(item)
    QTest.mouseClick(listWidget.viewport(), Qt.LeftButton, Qt.NoModifier, listWidget.visualItemRect(item).center())


def overlays(scene, background) -> set:
    """What lies over a volume in the views that show it."""
    import slicer.util

    views = slicer.util.getNodesByClass("vtkMRMLSliceCompositeNode")
    return {v.GetForegroundVolumeID() for v in views if v.GetBackgroundVolumeID() == background.GetID()}


def radius_of(panel) -> float:
    """How far the density of 0.2 reaches, mm."""
    from TumorRetrievalLib.scene.growth import contours_of

    bounds = contours_of(panel.growth.density)[0].GetPolyData().GetBounds()
    return (bounds[1] - bounds[0]) / 2
