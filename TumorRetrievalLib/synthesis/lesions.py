"""What tumors a synthetic patient has: how many, where, how large, and how each looks.

Shapes, places and kinds follow what each type typically does: gliomas in white matter with ring, solid, patchy or no
enhancement, some of them in several foci, and oedema along the tracts; round metastases at the gray-white border, often
several; meningiomas on the dura that push the brain; schwannomas at the cerebellopontine angle with a stem into the
auditory canal; pituitary adenomas that rise out of the sella. Sizes are ranges, not epidemiology, wide enough to hold
what a reader meets.
"""

from dataclasses import dataclass, field

import numpy as np
import torch

from TumorRetrievalLib.synthesis.anatomy import COARSE_GRID, COARSE_MM, Anatomy, HeadMaps, head_maps
from TumorRetrievalLib.synthesis.fields import axes_of, streams

SELLA_ATLAS_MM = (0.0, 4.0, -33.0)
"""The pituitary gland in MNI152 mm."""


_MULTIFOCAL = 0.15
"""Share of gliomas with foci apart from the main one."""


@dataclass(frozen=True)
class Lesion:
    """One tumor before it is drawn.

    :param lobes: spheres whose union is the core: (centre in patient RAS mm, radius mm).
    :param kind: ring, solid, patchy, nonenhancing, homogeneous or cystic.
    :param roughness: share of the radius by which the surface varies.
    :param anisotropy: share by which the half-axes differ.
    :param oedema_mm: how far oedema reaches along white matter; 0 for none.
    :param push: share of the radius by which the core pushes tissue away.
    :param extra_axial: grows from dura, nerve or gland, so brain tissue is displaced and not replaced.
    """

    lobes: tuple[tuple[np.ndarray, float], ...]
    kind: str
    roughness: float
    anisotropy: float
    oedema_mm: float
    push: float
    extra_axial: bool

    @property
    def center(self) -> np.ndarray:
        """Centre of the main lobe, patient RAS mm."""
        return self.lobes[0][0]

    @property
    def radius(self) -> float:
        """Radius in mm of the smallest sphere around the main lobe's centre that holds all lobes."""
        return max(float(np.linalg.norm(c - self.center)) + r for c, r in self.lobes)


@dataclass(frozen=True)
class CasePlan:
    """A synthetic patient before anything is drawn: the head and its tumors."""

    seed: int
    tumor_type: str
    anatomy: Anatomy = field(repr=False)
    head: HeadMaps = field(repr=False)
    lesions: tuple[Lesion, ...]


class Places:
    """Picks places in one head; patient RAS mm."""

    def __init__(self, head: HeadMaps, rng: np.random.Generator):
        self.rng = rng
        self.x, self.y, self.z = head.atlas_points
        self.gray, self.white = head.tissue[0], head.tissue[1]
        self.depth = head.depth
        self.atlas_points = head.atlas_points
        self._world = torch.stack(torch.meshgrid(*axes_of(COARSE_GRID), indexing="ij"))

    def anywhere(self, allowed: torch.Tensor) -> np.ndarray | None:
        """A random point of a coarse map, or None if it is empty."""
        candidates = allowed.nonzero()
        if len(candidates) == 0:
            return None
        i, j, k = candidates[self.rng.integers(len(candidates))]
        return self._world[:, i, j, k].numpy() + self.rng.uniform(-0.5, 0.5, 3) * COARSE_MM

    def nearest_to_atlas(self, atlas_mm) -> np.ndarray:
        """The point of this head that the atlas calls `atlas_mm`."""
        target = torch.tensor(atlas_mm, dtype=torch.float32)[:, None, None, None]
        index = int((self.atlas_points - target).square().sum(0).argmin())
        return self._world.reshape(3, -1)[:, index].numpy().astype(float)


def _radius_of_ml(ml: float) -> float:
    return float((ml * 1000.0 * 3.0 / (4.0 * np.pi)) ** (1.0 / 3.0))


def _log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _log_normal(rng: np.random.Generator, middle: float, spread: float, low: float, high: float) -> float:
    return float(np.clip(np.exp(rng.normal(np.log(middle), spread)), low, high))


def _glioma(places: Places, rng: np.random.Generator) -> Lesion | None:
    radius = _radius_of_ml(_log_uniform(rng, 1.5, 110.0))
    tissue = places.white if rng.random() < 0.75 else places.gray + places.white
    supratentorial = places.z > -25 if rng.random() < 0.93 else places.z > -200
    center = places.anywhere((tissue > 0.5) & (places.depth > min(8.0, radius * 0.5)) & supratentorial)
    if center is None:
        return None
    lobes = [(center, radius)]
    for _ in range(rng.integers(0, 4)):
        lobes.append((center + rng.normal(size=3) * radius * 0.65, radius * rng.uniform(0.35, 0.85)))
    if rng.random() < _MULTIFOCAL:
        lobes += _satellites(center, radius, rng)
    kind = str(rng.choice(["ring", "solid", "patchy", "nonenhancing"], p=[0.58, 0.12, 0.13, 0.17]))
    oedema = rng.uniform(3, 26) if rng.random() < 0.9 else rng.uniform(0, 3)
    if kind == "nonenhancing":
        oedema = rng.uniform(0, 14)
    return Lesion(tuple(lobes), kind, rng.uniform(0.15, 0.6), 0.35, oedema, rng.uniform(0, 0.5), False)


def _satellites(center: np.ndarray, radius: float, rng: np.random.Generator) -> list[tuple[np.ndarray, float]]:
    """One or two foci beside the main one, with a gap between: parts of the same tumor, as readers outline them."""
    foci = []
    for _ in range(rng.integers(1, 3)):
        small = max(2.0, radius * rng.uniform(0.2, 0.7))
        way = rng.normal(size=3)
        foci.append((center + way / np.linalg.norm(way) * (1.2 * radius + small + rng.uniform(1, 12)), small))
    return foci


def _metastasis(places: Places, rng: np.random.Generator) -> Lesion | None:
    radius = _log_normal(rng, 6.5, 0.5, 2.5, 20.0)
    center = places.anywhere((places.gray + places.white > 0.6) & (places.depth > radius * 0.4))
    if center is None:
        return None
    kind = "ring" if rng.random() < 0.2 + 0.04 * radius else "solid"
    oedema = rng.uniform(2, 24) if rng.random() < 0.7 else 0.0
    return Lesion(((center, radius),), kind, rng.uniform(0.05, 0.25), 0.18, oedema, rng.uniform(0, 0.45), False)


def _meningioma(places: Places, rng: np.random.Generator) -> Lesion | None:
    radius = _log_normal(rng, 12.0, 0.45, 4.0, 32.0)
    shore = (places.depth > -2) & (places.depth < 4)
    where = rng.choice(["convexity", "falx", "base", "tentorium"], p=[0.5, 0.2, 0.18, 0.12])
    allowed = {
        "convexity": shore & (places.z > 0),
        "falx": (places.x.abs() < 4) & (places.z > 15) & (places.depth > 0) & (places.depth < 25),
        "base": shore & (places.z < -5) & (places.z > -45) & (places.y > -30),
        "tentorium": (places.z + 14).abs().lt(7) & (places.y < -38) & (places.x.abs() > 8) & (places.depth > 0),
    }[str(where)]
    center = places.anywhere(allowed)
    if center is None:
        return None
    oedema = rng.uniform(3, 25) if rng.random() < 0.5 else 0.0
    kind = "homogeneous" if rng.random() < 0.88 else "cystic"
    return Lesion(((center, radius),), kind, rng.uniform(0.05, 0.25), 0.3, oedema, rng.uniform(0.5, 0.95), True)


def _schwannoma(places: Places, rng: np.random.Generator) -> Lesion:
    radius = _log_normal(rng, 8.0, 0.38, 3.5, 19.0)
    side = 1 if rng.random() < 0.5 else -1
    angle = (side * rng.uniform(15, 23), rng.uniform(-41, -31), rng.uniform(-42, -31))
    center = places.nearest_to_atlas(angle)
    canal = places.nearest_to_atlas((side * (abs(angle[0]) + 12), angle[1] + 1, angle[2]))
    outward = (canal - center) / max(float(np.linalg.norm(canal - center)), 1e-6)
    stem = [(center + outward * radius * step, max(1.8, radius * size)) for step, size in ((0.95, 0.4), (1.35, 0.25))]
    lobes = [(center, radius), *(stem if rng.random() < 0.8 else [])]
    kind = "homogeneous" if rng.random() < 0.75 else "cystic"
    oedema = rng.uniform(2, 6) if rng.random() < 0.15 else 0.0
    return Lesion(tuple(lobes), kind, rng.uniform(0.05, 0.2), 0.25, oedema, rng.uniform(0.5, 0.95), True)


def _pituitary_adenoma(places: Places, rng: np.random.Generator) -> Lesion:
    radius = _log_normal(rng, 8.0, 0.4, 3.5, 20.0)
    sella = places.nearest_to_atlas(np.array(SELLA_ATLAS_MM) + rng.normal(0, 1.5, 3))
    lobes = [(sella + (0, 0, radius * 0.5), radius)]
    if rng.random() < 0.5:
        lobes.append((sella + (rng.normal(0, 2), rng.normal(0, 2), radius * 1.4), radius * rng.uniform(0.5, 0.85)))
    kind = "homogeneous" if rng.random() < 0.8 else "cystic"
    return Lesion(tuple(lobes), kind, rng.uniform(0.05, 0.2), 0.2, 0.0, rng.uniform(0.5, 0.95), True)


_MAKERS = {
    "glioma": _glioma,
    "metastasis": _metastasis,
    "meningioma": _meningioma,
    "schwannoma": _schwannoma,
    "pituitary adenoma": _pituitary_adenoma,
}


def draw_lesion_count(tumor_type: str, rng: np.random.Generator) -> int:
    """How many tumors a patient of this type has; means as in Pisov et al. 2018, Table 1 (4.1, 1.2 and 1.03)."""
    if tumor_type == "metastasis":
        return min(1 + int(rng.geometric(0.244) - 1), 20)
    if tumor_type == "meningioma":
        return 1 + int(rng.random() < 0.15) + int(rng.random() < 0.05)
    return 1 + int(tumor_type == "schwannoma" and rng.random() < 0.03)


def plan_case(seed: int, tumor_type: str, lesion_count: int | None = None) -> CasePlan:
    """Decide everything about a synthetic patient that is not drawn yet.

    :param seed: the whole patient; the same seed, type and count give the same plan.
    :param tumor_type: one of `cohort.labels.TYPES`.
    :param lesion_count: how many tumors; drawn when None.
    """
    rng, generator = streams(seed, "head")
    anatomy = Anatomy(rng, generator)
    head = head_maps(anatomy)
    rng, _ = streams(seed, "lesions")
    wanted = draw_lesion_count(tumor_type, rng) if lesion_count is None else lesion_count
    places = Places(head, rng)
    lesions: list[Lesion] = []
    for _ in range(40 * wanted):
        lesion = _MAKERS[tumor_type](places, rng)
        if lesion is None or any(
            np.linalg.norm(lesion.center - other.center) < 1.3 * (lesion.radius + other.radius) + 3 for other in lesions
        ):
            continue
        lesions.append(lesion)
        if len(lesions) == wanted:
            break
    return CasePlan(seed, tumor_type, anatomy, head, tuple(lesions))
