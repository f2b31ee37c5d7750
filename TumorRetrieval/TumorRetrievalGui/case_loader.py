"""Fetches the images of known cases from the worker, and makes the small picture of each for the list."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import qt

from TumorRetrievalGui.case_nodes import CaseImages
from TumorRetrievalGui.results_logic import Hit
from TumorRetrievalGui.scan_files import ScanFiles
from TumorRetrievalGui.settings import Settings
from TumorRetrievalGui.signals import Signal
from TumorRetrievalGui.tasks import Failure, Task, Tasks
from TumorRetrievalGui.thumbnails import writeThumbnail
from TumorRetrievalLib.imaging.files import read_labels, read_volume

_PAUSE_MS = 800


class Loading:
    """A case that is on its way. Once it was cancelled, nothing is heard of it."""

    def __init__(self):
        self.task: Task | None = None
        self.cancelled = False

    def cancel(self) -> None:
        """Give up."""
        self.cancelled = True
        if self.task is not None:
            self.task.cancel()


class CaseLoader:
    """Loads cases.

    :param files: where files of the worker go; they are removed once they have been read.
    """

    def __init__(self, tasks: Tasks, files: ScanFiles, settings: Settings):
        self._tasks, self._files, self._settings = tasks, files, settings
        #: There is a picture of a tumor: its key, the path, and where the case is from.
        self.pictured = Signal()

    def load(self, hit: Hit, *, done: Callable[[CaseImages], None], failed: Callable[[Failure], None]) -> Loading:
        """Load a case. :param done: called with its images; `failed`, with the reason; neither after `cancel`."""
        loading = Loading()
        folder = self._files.newFolder("case")
        picture = self._files.newFolder("picture") / "tumor.ppm"

        def read(answer: dict) -> None:
            loading.task = self._tasks.inBackground(
                lambda: readCase(folder, picture, answer, hit.tumor), done=arrived, failed=lost
            )

        def arrived(images: CaseImages) -> None:
            self.pictured.emit(hit.key, picture, images.provenance)
            done(images)

        def lost(failure: Failure) -> None:
            if not loading.cancelled:
                failed(failure)

        arguments = {"case": hit.case, "out": str(folder), **self._settings.arguments("index")}
        loading.task = self._tasks.ask("case", arguments, done=read, failed=lost)
        return loading

    def findPlace(
        self, case: str, *, done: Callable[[list | None], None], failed: Callable[[Failure], None]
    ) -> Loading:
        """Find out where a case lies in the atlas.

        :param done: called with case RAS mm -> MNI152 mm, 4 x 4, or None if that is unknown; `failed`, with the reason;
            neither after `cancel`.
        """
        loading = Loading()

        def lost(failure: Failure) -> None:
            if not loading.cancelled:
                failed(failure)

        arguments = {"case": case, "atlas": True, **self._settings.arguments("index")}
        loading.task = self._tasks.ask("case", arguments, done=lambda told: done(told["case_to_atlas"]), failed=lost)
        return loading


class PictureQueue:
    """Fetches the pictures of cases that nobody has opened yet, one after the other, so that the user comes first."""

    def __init__(self, loader: CaseLoader):
        self._loader = loader
        self._pause = qt.QTimer()
        self._pause.setSingleShot(True)
        self._pause.setInterval(_PAUSE_MS)
        self._pause.connect("timeout()", self._next)
        self._wanted: list[Hit] = []
        self._tried: set[tuple] = set()
        self._loading: Loading | None = None
        loader.pictured.connect(lambda key, *_: self._tried.add(tuple(key)))

    def want(self, hits: list[Hit]) -> None:
        """Fetch the pictures of these, and no longer those that were wanted before."""
        self._wanted = [hit for hit in hits if tuple(hit.key) not in self._tried]
        # The worker does one thing at a time: while a slider moves, every wish begins the pause anew.
        if self._loading is None and self._wanted:
            self._pause.start()

    def forget(self) -> None:
        """Fetch all pictures anew: the known cases have changed, and a name may stand for another case."""
        self._tried.clear()

    def _next(self) -> None:
        if self._wanted:
            hit = self._wanted.pop(0)
            self._tried.add(tuple(hit.key))  # a case that cannot be loaded keeps its empty picture
            self._loading = self._loader.load(hit, done=self._goOn, failed=self._goOn)

    def _goOn(self, _outcome) -> None:
        self._loading = None
        self._next()

    def clear(self) -> None:
        """Fetch nothing any more."""
        self._wanted = []
        self._pause.stop()
        if self._loading is not None:
            self._loading.cancel()
            self._loading = None


def readCase(folder: Path, picture: Path, answer: dict, tumor: str) -> CaseImages:
    """Read what the worker has written of a case, and draw its picture.

    :param folder: of the worker's files; removed.
    :param picture: the file to draw.
    :param tumor: id of the tumor that matters.
    """
    files = answer["files"]
    masks = [read_labels(folder / files[name]) if name in files else None for name in ("core", "whole")]
    box = next(one["box"] for one in answer["tumors"] if one["id"] == tumor)
    images = CaseImages(
        read_volume(folder / files["t1c"]), *masks, np.array(box["center_ras"], float), answer["provenance"]
    )
    writeThumbnail(picture, images)
    shutil.rmtree(folder, ignore_errors=True)
    return images
