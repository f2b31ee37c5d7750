"""The words for what a tumor is and where it lies. The lists and the rules are in Resources/Labels."""

import json
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.resources import resource


def _labels(name: str) -> dict:
    return json.loads(resource("Labels", f"{name}.json").read_text(encoding="utf-8"))


_AREA_POINTS: dict[str, dict[str, list[float]]] = _labels("areas")["areas"]
_PLANES = _labels("sides")

TYPES: tuple[str, ...] = tuple(_labels("types")["types"])
"""Tumor types, in the order of the networks' type output."""

AREAS: tuple[str, ...] = tuple(_AREA_POINTS)
"""Anatomical areas, in the order of the networks' area output."""

SIDES: tuple[str, str] = ("left", "right")
FRONT_REAR: tuple[str, str] = ("front", "rear")
UPPER_LOWER: tuple[str, str] = ("upper", "lower")

ALLOWED: dict[str, tuple[str, ...]] = {
    "type": TYPES,
    "area": AREAS,
    "left_right": SIDES,
    "front_rear": FRONT_REAR,
    "upper_lower": UPPER_LOWER,
}
"""The allowed values of each label."""


@dataclass(frozen=True)
class Position:
    """Where a tumor lies, in words."""

    area: str
    left_right: str
    front_rear: str
    upper_lower: str


def describe_position(atlas_mm) -> Position:
    """Names the place of a point in the atlas.

    The area is that of the nearest labelled point (Resources/Labels/areas.json), the same on both sides. The
    sides are told by three planes (Resources/Labels/sides.json): left is x < 0 mm, front is y >= -17 mm, upper is
    z >= 5 mm, which are the midline and the middles of the atlas brain's extent.

    :param atlas_mm: MNI152 RAS mm, shape (3,).
    :raises ValueError: if that is not three finite numbers.
    """
    point = np.asarray(atlas_mm, float)
    if point.shape != (3,) or not np.all(np.isfinite(point)):
        raise ValueError(f"A position is three finite numbers in atlas mm, not {atlas_mm!r}.")
    names, points = _area_table()
    folded = point * (np.sign(point[0]) or 1.0, 1.0, 1.0)
    nearest = int(np.argmin(((points - folded) ** 2).sum(axis=1)))
    return Position(
        area=names[nearest],
        left_right=_side("left_right", "plane_x_mm", point[0]),
        front_rear=_side("front_rear", "plane_y_mm", point[1]),
        upper_lower=_side("upper_lower", "plane_z_mm", point[2]),
    )


def require_known(label: str, value: str | None) -> None:
    """Checks a value of one of the labels in `ALLOWED`; None, an unknown label, passes.

    :raises UnknownLabel: naming the allowed values.
    """
    if value is not None and value not in ALLOWED[label]:
        raise UnknownLabel(f"{value!r} is not a known {label}. Allowed: {', '.join(ALLOWED[label])}.")


def _side(label: str, plane: str, coordinate: float) -> str:
    below, above = _PLANES[label]["labels"]
    return above if coordinate >= _PLANES[label][plane] else below


@lru_cache(maxsize=1)
def _area_table() -> tuple[list[str], np.ndarray]:
    """The area of each labelled point, and the points, shape (n, 3)."""
    names = [area for area, points in _AREA_POINTS.items() for _ in points]
    return names, np.array([point for points in _AREA_POINTS.values() for point in points.values()], float)
