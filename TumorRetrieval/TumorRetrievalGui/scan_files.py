"""Scans of the scene as files that the worker can read, written in the background and only when they have changed."""

import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import slicer.util

from TumorRetrievalLib.imaging.files import write_volume
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.scene.matrices import node_to_world, to_numpy, to_vtk


def gridOf(node) -> Grid:
    """Where the voxels of a volume node lie in the scene's world, transforms above it included.

    :raises InvalidImage: :raises CurvedTransform: if that cannot be said with one matrix.
    """
    toNode = to_vtk(np.eye(4))
    node.GetIJKToRASMatrix(toNode)
    return Grid(node.GetImageData().GetDimensions(), node_to_world(node) @ to_numpy(toNode))


class ScanFiles:
    """A temporary folder for the scans of the current query and what is made of them.

    Patient data: it is removed with `close`.
    """

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="TumorRetrieval-", ignore_cleanup_errors=True)
        self._written: dict[str, tuple] = {}
        self._count = 0

    @property
    def folder(self) -> Path:
        """Where the files are."""
        return Path(self._folder.name)

    def newFolder(self, name: str) -> Path:
        """A new, empty folder for files of the worker."""
        return Path(tempfile.mkdtemp(prefix=f"{name}-", dir=self.folder))

    def writer(self, nodes: list) -> Callable[[], list[Path]]:
        """A function that brings the files of some nodes up to date and returns their paths.

        What it needs of the scene is read here, on the main thread; the function itself may run in a thread.

        :raises InvalidImage: :raises CurvedTransform: if a node cannot be used.
        """
        sources = [(node, _stamp(node), slicer.util.arrayFromVolume(node), gridOf(node)) for node in nodes]
        work = [(node.GetID(), _fileName(node), *source) for node, *source in sources]
        return lambda: [self._upToDate(*source) for source in work]

    def _upToDate(self, nodeId: str, name: str, stamp: tuple, kji: np.ndarray, grid: Grid) -> Path:
        known, path = self._written.get(nodeId, (None, None))
        if known != stamp:
            self._count += 1
            # A folder of its own: the worker may still be reading an older file of that name.
            path = self.folder / str(self._count) / name
            path.parent.mkdir()
            write_volume(path, Volume(np.array(kji.transpose(2, 1, 0), np.float32, order="C"), grid.affine))
            self._written[nodeId] = (stamp, path)
        return path

    def close(self) -> None:
        """Remove the folder."""
        self._folder.cleanup()


def _stamp(node) -> tuple:
    """Changes whenever the image or its place does."""
    return node.GetImageData().GetMTime(), gridOf(node).affine.tobytes()


def _fileName(node) -> str:
    """A name that tells the user in a message which scan is meant."""
    kept = "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in node.GetName())
    return f"{kept[:60] or 'scan'}.nii"
