"""A patient's scan, opened, and brought to the atlas where that is possible."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

import numpy as np

from TumorRetrievalLib.errors import RegistrationFailed
from TumorRetrievalLib.imaging.atomic import file_state
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.files import read_volume
from TumorRetrievalLib.imaging.tumor_crop import Scan
from TumorRetrievalLib.imaging.volume import Grid, LabelMap, Volume
from TumorRetrievalLib.registration.affine import register_to_atlas
from TumorRetrievalLib.registration.alignment import AtlasAlignment
from TumorRetrievalLib.resources import resource
from TumorRetrievalLib.retrieval.embedder import Reading, TumorReader
from TumorRetrievalLib.retrieval.embedding import TumorFacts

T = TypeVar("T")


@dataclass(eq=False)
class Patient:
    """One patient's images in one world space.

    :param notes: sentences that a reader must see.
    :param alignment: None until `register`, and where that failed.
    """

    name: str
    t1c: Volume
    flair: Volume | None
    scan: Scan
    notes: list[str] = field(default_factory=list)
    alignment: AtlasAlignment | None = None

    def register(self, progress: Callable[[float, str], None] | None = None) -> None:
        """Bring the scan to the atlas; a failure becomes a note, and positions stay unknown."""
        try:
            self.align(progress)
        except RegistrationFailed as failure:
            self.notes.append(f"The place in the brain is unknown and was not compared. {failure}")

    def align(self, progress: Callable[[float, str], None] | None = None) -> AtlasAlignment:
        """Bring the scan to the atlas.

        :raises RegistrationFailed: if that is not possible.
        """
        self.place(register_to_atlas(self.t1c, progress=progress))
        return self.alignment

    def place(self, alignment: AtlasAlignment) -> None:
        """Take over where the scan lies in the atlas."""
        self.alignment = alignment
        self.scan = self.scan.with_brain(self._brain_on)

    def _brain_on(self, grid: Grid) -> LabelMap:
        return self.alignment.brain_on(grid)

    @property
    def patient_to_atlas(self) -> np.ndarray | None:
        """Patient RAS mm -> MNI152 mm, shape (4, 4); None if the scan could not be brought to the atlas."""
        return None if self.alignment is None else self.alignment.patient_to_atlas

    def facts_about(self, reading: Reading, core: Box) -> TumorFacts:
        """What an embedding is made of.

        :param core: the box around the tumor's core.
        """
        size_mm = np.abs(core.axes) @ core.size
        return TumorFacts(reading.appearance, reading.types, self.to_atlas(core.center), size_mm)

    def to_atlas(self, point) -> np.ndarray | None:
        """A point (RAS mm) in MNI152 mm, or None if the scan could not be brought to the atlas."""
        return None if self.alignment is None else self.alignment.to_atlas(point)


def open_patient(t1c: Path | str, flair: Path | str | None = None) -> Patient:
    """Read a patient's images.

    :raises UnreadableFile: :raises InvalidImage: if a file cannot be used.
    :raises GeometryMismatch: if the FLAIR shows another part of the world than the T1c.
    """
    notes: list[str] = []
    volume = read_volume(t1c, notes)
    second = None if flair is None else read_volume(flair, notes)
    if second is not None:
        volume.require_overlap(second, str(flair), str(t1c))
    return Patient(Path(t1c).name, volume, second, Scan.of(volume, second), notes)


@lru_cache(maxsize=2)
def _loaded_reader(folder: Path, _state: tuple | None, device: str | None) -> TumorReader:
    return TumorReader.load(folder, device)


def tumor_reader(folder: Path | None = None, device: str | None = None) -> TumorReader:
    """The reader of a model folder (the bundled one when None), loaded once and kept.

    :raises WeightsError: if there is no usable model.
    """
    folder = Path(folder) if folder is not None else resource("Models", "default")
    reader = _loaded_reader(folder, file_state(folder / "model.json"), device)
    reader.notes.clear()
    return reader


class StopWatch:
    """How long each step took."""

    def __init__(self):
        self._steps: dict[str, float] = {}

    def time(self, step: str, work: Callable[[], T]) -> T:
        """Do `work` and remember how long it took under the name `step`."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self._steps[step] = self._steps.get(step, 0.0) + time.perf_counter() - began

    def total(self) -> float:
        """Seconds of all steps."""
        return sum(self._steps.values())

    def seconds(self) -> dict[str, float]:
        """Seconds of each step and, as "total", of all, rounded to milliseconds."""
        return {name: round(value, 3) for name, value in {**self._steps, "total": self.total()}.items()}
