"""Where to begin: rough poses of the head, tried by the hundred on a few thousand points.

A registration that climbs from one start ends on the nearest hill. Heads lie tilted in the scanner, a field of view may
end in the middle of the brain, and thick slices make the wrong tilt look almost as good as the right one; so several
starts that differ are handed on, and the finer stages decide.
"""

from dataclasses import dataclass
from itertools import product

import numpy as np

from TumorRetrievalLib.registration.template import Template
from TumorRetrievalLib.registration.view import PatientView

CENTRE_MM = np.array([0.0, -20.0, 8.0])
"""The middle of the atlas brain, RAS mm: the fixed point of rotations and scales."""

_POINTS = 3000
_BINS = 24
_STEP = np.array([5.0, 5.0, 5.0, 5.0, 5.0, 5.0, 0.05])
"""What changes a pose about as much along each of its numbers: degrees, mm, scale."""
_LEAST_SEEN = 0.35
_TURNED = {"front to back": (0, 0, 180), "upside down": (0, 180, 0), "upside down and front to back": (180, 0, 0)}


@dataclass(frozen=True, eq=False)
class Pose:
    """A similarity from the atlas to the patient.

    :param numbers: rotations about R, A, S in degrees; where `CENTRE_MM` goes, RAS mm; scale. Shape (7,).
    :param score: normalised mutual information, 1 or more; larger is better.
    """

    numbers: np.ndarray
    score: float

    @property
    def matrix(self) -> np.ndarray:
        """Rotation times scale, shape (3, 3)."""
        return _rotation(self.numbers[:3]) * self.numbers[6]

    @property
    def affine(self) -> np.ndarray:
        """Atlas RAS mm -> patient RAS mm, shape (4, 4)."""
        affine = np.eye(4)
        affine[:3, :3] = self.matrix
        affine[:3, 3] = self.numbers[3:6] - self.matrix @ CENTRE_MM
        return affine


class Comparison:
    """How well a patient's scan fits a template under an affine, by normalised mutual information.

    The points are drawn with a fixed seed, so the same scan always gives the same number.
    """

    def __init__(self, template: Template, view: PatientView, where: np.ndarray, points: int = _POINTS):
        indices = np.argwhere(where)
        if len(indices) > points:
            indices = indices[np.random.default_rng(0).choice(len(indices), points, replace=False)]
        self.points = template.grid.to_world(indices)
        self._template = _binned(template.image[tuple(indices.T)])
        self._patient = np.where(view.known, _binned(view.image, view.known), -1)
        self._to_voxel = np.linalg.inv(view.grid.affine)

    def __call__(self, atlas_to_patient: np.ndarray) -> float:
        """:returns: 1 (unrelated, or hardly any of the template seen) or more."""
        to_voxel = self._to_voxel @ atlas_to_patient
        indices = np.rint(self.points @ to_voxel[:3, :3].T + to_voxel[:3, 3]).astype(np.int64)
        inside = np.all((indices >= 0) & (indices < self._patient.shape), axis=1)
        patient = np.full(len(indices), -1)
        patient[inside] = self._patient[tuple(indices[inside].T)]
        seen = patient >= 0
        if np.count_nonzero(seen) < _LEAST_SEEN * len(patient):
            return 1.0
        return _normalised_mutual_information(self._template[seen], patient[seen])


def find_starts(template: Template, view: PatientView, count: int) -> list[Pose]:
    """The best poses that really differ, each improved by Powell's method, the best first.

    :param count: at most so many.
    """
    compare = Comparison(template, view, template.compared)
    middle = _middle_of_brain(view)
    shifts = (-15, 0, 15) if _whole_brain_seen(view) else (-60, -45, -30, -15, 0, 15, 30, 45, 60)
    tried = [
        _pose(compare, [pitch, roll, yaw, *(middle + (0, forward, upward)), scale])
        for pitch, roll, yaw, forward, upward, scale in product(
            (-30, -10, 10, 30), (-15, 0, 15), (-15, 0, 15), (-10, 10), shifts, (0.85, 1.0)
        )
    ]
    tried.sort(key=lambda pose: -pose.score)
    improved = [_improve(compare, pose) for pose in _that_differ(tried, 2 * count)]
    improved.sort(key=lambda pose: -pose.score)
    return _that_differ(improved, count)


def turned_better(template: Template, view: PatientView, pose: Pose) -> str | None:
    """How a scan must be turned by half a turn to fit clearly better than `pose`, or None.

    A header may claim an orientation that the patient never had. The atlas is the same on both sides, so a mirrored
    scan shows up here as a turned one, except for left and right, which no image can prove.
    """
    compare = Comparison(template, view, template.compared)
    for name, angles in _TURNED.items():
        half_turn = _rotation(np.array(angles, float))
        numbers = pose.numbers.copy()
        numbers[:3] = _angles(half_turn @ _rotation(pose.numbers[:3]))
        if _improve(compare, _pose(compare, numbers)).score - 1.0 > 1.25 * (pose.score - 1.0):
            return name
    return None


def _middle_of_brain(view: PatientView) -> np.ndarray:
    where = view.brain if view.brain.any() else view.known
    return view.grid.to_world(np.argwhere(where).mean(axis=0))


def _whole_brain_seen(view: PatientView) -> bool:
    from scipy import ndimage

    border = ndimage.binary_dilation(view.brain, iterations=2) & ~view.known
    return np.count_nonzero(border) < 0.01 * np.count_nonzero(view.brain)


def _pose(compare: Comparison, numbers) -> Pose:
    pose = Pose(np.asarray(numbers, float), 1.0)
    return Pose(pose.numbers, compare(pose.affine))


def _improve(compare: Comparison, pose: Pose) -> Pose:
    from scipy.optimize import minimize

    found = minimize(
        lambda steps: -compare(Pose(steps * _STEP, 1.0).affine),
        pose.numbers / _STEP,
        method="Powell",
        options={"maxfev": 400, "xtol": 0.1, "ftol": 1e-4},
    )
    return _pose(compare, found.x * _STEP)


def _that_differ(poses: list[Pose], count: int) -> list[Pose]:
    """The first `count` poses of which no two differ by less than about 6 degrees and 6 mm."""
    kept: list[Pose] = []
    for pose in poses:
        if all(np.abs((pose.numbers - other.numbers) / _STEP)[:6].max() > 1.2 for other in kept):
            kept.append(pose)
        if len(kept) == count:
            break
    return kept


def _rotation(degrees: np.ndarray) -> np.ndarray:
    (cx, cy, cz), (sx, sy, sz) = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
    about_r = np.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_a = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_s = np.array([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_s @ about_a @ about_r


def _angles(rotation: np.ndarray) -> np.ndarray:
    """The inverse of `_rotation`, degrees."""
    pitch = np.arctan2(rotation[2, 1], rotation[2, 2])
    roll = np.arctan2(-rotation[2, 0], np.hypot(rotation[2, 1], rotation[2, 2]))
    yaw = np.arctan2(rotation[1, 0], rotation[0, 0])
    return np.degrees([pitch, roll, yaw])


def _binned(values: np.ndarray, where: np.ndarray | None = None) -> np.ndarray:
    low, high = np.percentile(values if where is None else values[where], (0.5, 99.0))
    return np.clip((values - low) * (_BINS / max(high - low, 1e-12)), 0, _BINS - 1).astype(np.int64)


def _normalised_mutual_information(one: np.ndarray, other: np.ndarray) -> float:
    """(H(a) + H(b)) / H(a, b), Studholme et al. 1999: unlike plain mutual information, it does not reward overlap."""
    joint = np.bincount(one * _BINS + other, minlength=_BINS * _BINS).reshape(_BINS, _BINS) / len(one)
    both = _entropy(joint)
    return (_entropy(joint.sum(axis=0)) + _entropy(joint.sum(axis=1))) / both if both > 0 else 1.0


def _entropy(shares: np.ndarray) -> float:
    shares = shares[shares > 0]
    return float(-(shares * np.log(shares)).sum())
