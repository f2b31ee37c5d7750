"""What the worker writes of a growth simulation for a scene to show, and how that is read again.

One file, so that a scene gets all of it or nothing. It stays on the simulation's grid: the scene puts a transform above
it instead of resampling it. Light enough for 3D Slicer's own process.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file
from TumorRetrievalLib.imaging.volume import Grid, Volume

_LEVELS = 255


@dataclass(frozen=True, eq=False)
class Bend:
    """The curved part of the way between a patient and the atlas, as in `registration.deformable`.

    :param grid: where the fields' voxels lie, atlas RAS mm, upright.
    :param to_straight: atlas point -> its place in the straightened patient: displacement in mm, float32 (3, i, j, k).
    :param from_straight: the way back, the same.
    """

    grid: Grid
    to_straight: np.ndarray
    from_straight: np.ndarray


@dataclass(frozen=True, eq=False)
class Overlay:
    """A simulated tumor as a scene shows it.

    :param stages: cell density, 0..1, at ages evenly spaced up to that at the time of the scan; atlas RAS mm.
    :param spread: standard deviation of the density over the best matches, on the grid of the stages.
    :param patient_to_atlas: patient RAS mm -> atlas RAS mm, shape (4, 4): all of the way, or its straight part where
        there is also
    :param bend: the rest of it.
    """

    stages: list[Volume]
    spread: Volume
    patient_to_atlas: np.ndarray
    bend: Bend | None = None


def cut_out(volumes: list[Volume]) -> list[Volume]:
    """The part of volumes on one grid in which any of them can be seen, with a border of one voxel."""
    visible = np.logical_or.reduce([volume.data * _LEVELS >= 0.5 for volume in volumes])
    if not visible.any():
        visible = np.ones_like(visible)
    bounds = []
    for axis in range(3):
        where = np.flatnonzero(visible.any(axis=tuple({0, 1, 2} - {axis})))
        bounds.append((max(where[0] - 1, 0), where[-1] + 2))
    region = tuple(slice(low, high) for low, high in bounds)
    affine = volumes[0].affine.copy()
    affine[:3, 3] = volumes[0].grid.to_world([low for low, _ in bounds])
    return [Volume(volume.data[region], affine) for volume in volumes]


def write_stages(path: Path, stages: list[Volume]) -> None:
    """Write the stages of one simulated tumor.

    :param stages: on one grid.
    :raises CannotWrite: if the disk is full or there is no permission.
    """
    _write(path, _packed_stages(stages))


def read_stages(path: Path) -> list[Volume]:
    """The stages of one simulated tumor, in steps of 1/255.

    :raises UnreadableFile: if the file is missing, truncated, or of another kind.
    """
    return _unpacked_stages(_read(path), path)


def write_overlay(path: Path, overlay: Overlay) -> None:
    """Write all that a scene shows; the stages and the spread on one grid.

    :raises CannotWrite: if the disk is full or there is no permission.
    """
    arrays = _packed_stages(overlay.stages)
    arrays |= {"spread": _packed(overlay.spread), "patient_to_atlas": overlay.patient_to_atlas}
    if overlay.bend is not None:
        arrays |= {
            "bend_affine": overlay.bend.grid.affine,
            "to_straight": overlay.bend.to_straight.astype(np.float32),
            "from_straight": overlay.bend.from_straight.astype(np.float32),
        }
    _write(path, arrays)


def read_overlay(path: Path) -> Overlay:
    """All that a scene shows, the densities in steps of 1/255.

    :raises UnreadableFile: if the file is missing, truncated, or of another kind.
    """
    arrays = _read(path)
    try:
        spread, bend = _unpacked(arrays["spread"], arrays["affine"]), None
        if "bend_affine" in arrays:
            forth, back = arrays["to_straight"], arrays["from_straight"]
            bend = Bend(Grid(forth.shape[1:], arrays["bend_affine"]), forth, back)
        return Overlay(_unpacked_stages(arrays, path), spread, arrays["patient_to_atlas"], bend)
    except KeyError as error:
        raise _not_ours(path) from error


def _packed(volume: Volume) -> np.ndarray:
    return np.rint(np.clip(volume.data, 0, 1) * _LEVELS).astype(np.uint8)


def _unpacked(levels: np.ndarray, affine: np.ndarray) -> Volume:
    return Volume(levels.astype(np.float32) / np.float32(_LEVELS), affine)


def _packed_stages(stages: list[Volume]) -> dict[str, np.ndarray]:
    return {"stages": np.stack([_packed(stage) for stage in stages]), "affine": stages[0].affine}


def _unpacked_stages(arrays: dict[str, np.ndarray], path: Path) -> list[Volume]:
    try:
        return [_unpacked(levels, arrays["affine"]) for levels in arrays["stages"]]
    except KeyError as error:
        raise _not_ours(path) from error


def _write(path: Path, arrays: dict[str, np.ndarray]) -> None:
    # Not compressed: that takes longer than writing and reading, and the file is read once.
    with atomic_file(path) as temporary, temporary.open("wb") as file:
        np.savez(file, **arrays)


def _read(path: Path) -> dict[str, np.ndarray]:
    return read_arrays(path, "Fit the growth simulation again.")


def _not_ours(path: Path) -> UnreadableFile:
    return UnreadableFile(f"{path} holds no growth simulation; fit it again.")
