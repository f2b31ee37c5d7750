"""A bank of drawn patients on disk: drawing takes ten times as long as painting, so each drawing is painted often."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch

from TumorRetrievalLib.errors import UnreadableFile
from TumorRetrievalLib.imaging.arrays import read_arrays
from TumorRetrievalLib.imaging.atomic import atomic_file, make_folder
from TumorRetrievalLib.imaging.volume import Grid
from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.synthesis.lesions import plan_case
from TumorRetrievalLib.synthesis.raster import Geometry, rasterise
from TumorRetrievalLib.synthesis.surroundings import Surroundings

CROP = 72
"""Edge of a stored crop in voxels; training takes smaller pieces of it."""

TRAINING_MIX = {
    "glioma": 0.42,
    "metastasis": 0.22,
    "meningioma": 0.16,
    "schwannoma": 0.12,
    "pituitary adenoma": 0.08,
}
"""How often each type is drawn for training."""

_CHANNELS = ("gray", "white", "csf", "label", "lesion", "oedema", "brain", "vessels", "spots", "head")


@dataclass(frozen=True)
class Drawing:
    """What is known about a stored crop besides its voxels.

    :param focus: number of the tumor that the crop is about, counted from 1.
    :param spacing_mm: of the isotropic voxels.
    """

    seed: int
    tumor_type: str
    kind: str
    focus: int
    spacing_mm: float
    center_ras: tuple[float, float, float]

    @property
    def grid(self) -> Grid:
        """Where the crop lies in its patient."""
        return Grid.around(self.center_ras, self.spacing_mm, (CROP,) * 3)


def draw(seed: int) -> tuple[Drawing, Geometry]:
    """One patient, cropped around one of its tumors at a resolution that fits it."""
    rng, _ = streams(seed, "crop")
    tumor_type = str(rng.choice(list(TRAINING_MIX), p=list(TRAINING_MIX.values())))
    plan = plan_case(seed, tumor_type)
    attempt = seed
    while not plan.lesions:
        # A deformed head may have no place for what was asked; the next patient has.
        attempt += 10_000_000
        plan = plan_case(attempt, tumor_type)
    focus = int(rng.integers(len(plan.lesions)))
    lesion = plan.lesions[focus]
    field_mm = 2 * lesion.radius + rng.uniform(28, 72)
    spacing = float(np.clip(field_mm / 60 * rng.uniform(0.85, 1.2), 0.9, 3.0))
    middle = np.mean([c for c, _ in lesion.lobes], axis=0) + rng.uniform(-2, 2, 3) * spacing
    drawing = Drawing(attempt, tumor_type, lesion.kind, focus + 1, spacing, tuple(float(c) for c in middle))
    return drawing, rasterise(plan, drawing.grid)


class GeometryBank:
    """A folder of drawn patients, one file each, named by seed; safe to fill and to read at the same time."""

    def __init__(self, folder: Path | str):
        self.folder = Path(folder)
        make_folder(self.folder)

    def seeds(self) -> list[int]:
        """Which patients are there, in order."""
        # Not "*.npz": that would also match the files that are just being written.
        return sorted(int(path.stem) for path in self.folder.glob("[0-9]*.npz"))

    def add(self, seed: int) -> None:
        """Draw one patient and keep it; one that is there already is left alone."""
        path = self.folder / f"{seed}.npz"
        if path.exists():
            return
        drawing, geometry = draw(seed)
        with atomic_file(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, voxels=_pack(geometry), drawing=np.array(json.dumps(asdict(drawing))))

    def read(self, seed: int) -> tuple[Drawing, Geometry]:
        """One patient back.

        :raises UnreadableFile: if its file is missing or damaged.
        """
        path = self.folder / f"{seed}.npz"
        try:
            stored = read_arrays(path, "Delete it; it will be drawn again.")
            facts = json.loads(str(stored["drawing"]))
            facts["center_ras"] = tuple(facts["center_ras"])
            return Drawing(**facts), _unpack(stored["voxels"])
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            message = f"{path} is not a drawn patient ({error}). Delete it; it will be drawn again."
            raise UnreadableFile(message) from None


def _pack(geometry: Geometry) -> np.ndarray:
    """A geometry as bytes, shape (10, X, Y, Z); fractions become 1/255 steps."""
    parts = {**vars(geometry), **vars(geometry.around)}
    return np.stack(
        [
            (parts[name].clamp(0, 1) * 255).round().to(torch.uint8).numpy()
            if parts[name].dtype == torch.float32
            else parts[name].to(torch.uint8).numpy()
            for name in _CHANNELS
        ]
    )


def _unpack(voxels: np.ndarray) -> Geometry:
    if voxels.shape != (len(_CHANNELS), CROP, CROP, CROP) or voxels.dtype != np.uint8:
        raise ValueError(f"voxels of shape {voxels.shape} and type {voxels.dtype}")
    stored = dict(zip(_CHANNELS, torch.from_numpy(voxels), strict=True))
    fraction = {name: stored[name].float() / 255 for name in ("gray", "white", "csf", "oedema", "vessels", "spots")}
    around = Surroundings(fraction["vessels"], fraction["spots"], stored["head"])
    return Geometry(
        fraction["gray"],
        fraction["white"],
        fraction["csf"],
        stored["label"],
        stored["lesion"],
        fraction["oedema"],
        stored["brain"] > 0,
        around,
    )


def fill_bank(folder: str, seeds: list[int]) -> None:
    """Draw the patients with these seeds; the work of a process of its own."""
    torch.set_num_threads(1)
    bank = GeometryBank(folder)
    with torch.no_grad():
        for seed in seeds:
            bank.add(seed)
