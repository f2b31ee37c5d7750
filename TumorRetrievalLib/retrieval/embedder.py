"""Reads a tumor with the network: its outline, its type, and the vector that describes how it looks."""

import contextlib
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

# faiss and torch bring OpenMP runtimes of their own; loaded in the other order, some builds abort the process.
with contextlib.suppress(ImportError):
    import faiss  # noqa: F401
import torch

from TumorRetrievalLib.errors import WeightsError
from TumorRetrievalLib.imaging.box import Box
from TumorRetrievalLib.imaging.resample import resample
from TumorRetrievalLib.imaging.tumor_crop import COARSEST_MM, CROP, Crop, Scan, crop_spacing, cut_crop, voxels_inside
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.networks.device import mixed_precision, run_with_fallback
from TumorRetrievalLib.networks.weights import LoadedModel, load_model

_SEEN = 0.5
"""Probability of whole tumor above which a voxel is seen without a box."""
SWEEPS_MM = (2.0, 1.4)
"""Edges of the voxels in which a whole brain is searched without a box, the finest last."""
_SWEEP_SHARES = (0.0, 0.25, 1.0)
_WIDEN = 1.35
"""Factor by which the cube grows when a tumor runs out of it."""


@dataclass(frozen=True, eq=False)
class Reading:
    """What the network says about one box.

    :param core: probability of tumor core on the crop's grid.
    :param whole: probability of whole tumor.
    :param types: tumor type -> probability; they add up to 1.
    :param appearance: unit vector, shape (E,).
    """

    core: Volume
    whole: Volume
    types: dict[str, float]
    appearance: np.ndarray


class TumorReader:
    """A loaded model that reads boxes.

    :param model: made by `networks.weights.load_model`.
    :ivar notes: sentences for the user, such as that the GPU's memory was too small.
    """

    def __init__(self, model: LoadedModel):
        labels = model.contract.get("labels", {})
        if "type" not in labels:
            raise WeightsError("This model names no tumor types, so it cannot be used to find similar cases.")
        self.model = model
        self.device = model.device
        self.types: tuple[str, ...] = tuple(labels["type"])
        self.temperature = float(model.contract.get("type_temperature", 1.0))
        self.thresholds = model.contract.get("thresholds", {})
        self.notes: list[str] = []

    @classmethod
    def load(cls, folder: Path | str, device: str | None = None) -> "TumorReader":
        """:raises WeightsError: if there is no usable model in `folder`."""
        return cls(load_model(folder, device))

    def threshold(self, mask: str, around: str) -> float:
        """The probability above which a voxel belongs to "core" or "whole", for a box drawn around `around`."""
        return float(self.thresholds.get(around, {}).get(mask, 0.5))

    def read(self, scan: Scan, box: Box, around: str) -> Reading:
        """Read one box; the cube grows while the tumor runs out of it.

        Errors as in `cut_crop`.
        """
        spacing = crop_spacing(box, around)
        while True:
            crop = cut_crop(scan, box, around, spacing)
            reading = self.read_crop(crop)
            limit = self.threshold("whole", around)
            if spacing * _WIDEN > COARSEST_MM or not _touches_border(reading.whole.data > limit):
                return reading
            spacing *= _WIDEN

    def read_untold(self, scan: Scan, box: Box, around: str, reading: Reading) -> Reading:
        """Read the cube of a reading again without telling the network of the box; the other arguments as in `read`."""
        crop = cut_crop(scan, box, around, float(reading.whole.grid.spacing[0]))
        image = crop.image.copy()
        image[2:] = 0.0
        return self.read_crop(replace(crop, image=image))

    def seen_without_box(self, box: Box, around: str, reading: Reading, untold: Reading) -> float:
        """How much of what the network outlines in a box it also sees when it is not told of the box; 0 to 1.

        With a box the network outlines something wherever the box is drawn, on healthy brain and on noise, and what it
        says about that looks like any tumor. Asked without, it sees most tumors and hardly anything else.

        :param reading: of this box; :param untold: by `read_untold`.
        """
        told = voxels_inside(box, reading.whole.grid) & (reading.whole.data > self.threshold("whole", around))
        seen = told & (untold.whole.data > _SEEN)
        return float(seen.sum() / told.sum()) if told.any() else 0.0

    def read_crop(self, crop: Crop) -> Reading:
        """Read a cube as it is."""
        image = torch.from_numpy(crop.image)[None]
        boxes = torch.tensor([[0, *crop.box]])
        answer, note = run_with_fallback(lambda device: self._forward(image, boxes, device), self.device)
        masks, embedding, logits = answer
        if note:
            self.notes.append(note)
            self.device = torch.device("cpu")
        core, whole = masks
        # What is core is tumor: the two masks never contradict each other.
        whole = np.maximum(core, whole)
        chances = np.exp((logits - logits.max()) / self.temperature)
        types = {name: float(p) for name, p in zip(self.types, chances / chances.sum(), strict=True)}
        affine = crop.grid.affine
        return Reading(Volume(core, affine), Volume(whole, affine), types, embedding)

    def _forward(self, image: torch.Tensor, boxes: torch.Tensor, device: torch.device) -> tuple[np.ndarray, ...]:
        network = self.model.network.to(device)
        with torch.inference_mode(), mixed_precision(device):
            output = network(image.to(device), boxes.to(device))
        masks = output.masks[0].float().sigmoid().cpu().numpy()
        return masks, output.embedding[0].float().cpu().numpy(), output.labels["type"][0].float().cpu().numpy()

    def read_everywhere(self, scan: Scan, progress=None) -> tuple[Volume, Volume]:
        """Outline tumors in the whole brain without a box: at a coarse and at a fine resolution.

        In training a tumor filled the cube, so a small one is seen better where the voxels are small, and a large one
        where they are large. The mean of both sees more than either, with few false alarms; their maximum has many.

        :returns: probabilities of core and whole tumor on an upright grid of the finer voxels around the scan.
        """
        swept = []
        for number, spacing in enumerate(SWEEPS_MM):
            tell = _stretch(progress, _SWEEP_SHARES[number], _SWEEP_SHARES[number + 1])
            swept.append(self._sweep(scan, spacing, tell))
        fine = swept[-1][0].grid
        core, whole = (
            Volume(np.mean([resample(sweep[mask], fine).data for sweep in swept], axis=0), fine.affine)
            for mask in (0, 1)
        )
        return core, whole

    def _sweep(self, scan: Scan, spacing: float, progress) -> tuple[Volume, Volume]:
        """Cubes of `spacing` mm voxels that overlap by half, and the weighted mean of what is seen in them."""
        low, high = _world_bounds(scan.t1c.grid)
        shape = tuple(int(n) for n in np.maximum(np.ceil((high - low) / spacing), CROP).astype(int))
        grid = Grid.around((low + high) / 2, spacing, shape)
        total = np.zeros((2, *shape), np.float32)
        weight = np.zeros(shape, np.float32)
        window = _window()
        starts = [_starts(n) for n in shape]
        corners = [(i, j, k) for i in starts[0] for j in starts[1] for k in starts[2]]
        for number, corner in enumerate(corners):
            region = tuple(slice(c, c + CROP) for c in corner)
            center = grid.to_world(np.asarray(corner) + (CROP - 1) / 2)
            crop = _unprompted(scan, center, spacing)
            if crop is not None:
                reading = self.read_crop(crop)
                total[0][region] += window * reading.core.data
                total[1][region] += window * reading.whole.data
            weight[region] += window
            if progress is not None:
                progress((number + 1) / len(corners), "Outlining the whole brain")
        total /= weight
        return Volume(total[0], grid.affine), Volume(total[1], grid.affine)


def _unprompted(scan: Scan, center: np.ndarray, spacing: float) -> Crop | None:
    """A cube without a box, or None where there is nothing to see."""
    edge = CROP * spacing
    box = Box.aligned(center, (edge, edge, edge))
    signal = scan.channels()[0][1]
    hull = box.voxel_hull(signal.grid)
    if np.count_nonzero(signal.data[hull]) * signal.grid.voxel_ml < 5.0:
        return None
    crop = cut_crop(scan, box, "whole", spacing)
    crop.image[2:] = 0.0
    return crop


def _stretch(progress, begin: float, end: float):
    """A progress callback for a part of the work."""
    return None if progress is None else lambda share, message: progress(begin + (end - begin) * share, message)


def _touches_border(mask: np.ndarray) -> bool:
    faces = [mask.take(index, axis) for axis in range(3) for index in (0, -1)]
    return any(face.any() for face in faces)


def _world_bounds(grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    corners = np.array(np.meshgrid(*[(-0.5, n - 0.5) for n in grid.shape])).reshape(3, 8).T
    world = grid.to_world(corners)
    return world.min(axis=0), world.max(axis=0)


def _starts(size: int) -> list[int]:
    steps = max(1, int(np.ceil((size - CROP) / (CROP // 2))))
    return sorted({round(step * (size - CROP) / steps) for step in range(steps + 1)})


def _window() -> np.ndarray:
    """Weights that favour the middle of a cube, where the network sees most around it."""
    line = np.minimum(np.arange(CROP) + 1, CROP - np.arange(CROP)).astype(np.float32)
    return line[:, None, None] * line[None, :, None] * line[None, None, :]
