"""Patient to atlas: rough starts, then similarity, then affine, each judged before it is used.

A plain registration of a head with the bare brain of the atlas stretches the atlas until it fills the skull. So the
brain is made out first, without the atlas; what comes out then has to agree with it.

All images are brought to world axes first (`view.py`, `template.py`), so that the transforms below map RAS mm to RAS mm
and no file's axes or handedness can turn left into right.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import RegistrationFailed
from TumorRetrievalLib.imaging.volume import Grid, Volume
from TumorRetrievalLib.registration.alignment import AtlasAlignment, stretches_and_turn
from TumorRetrievalLib.registration.starts import CENTRE_MM, Comparison, Pose, find_starts, turned_better
from TumorRetrievalLib.registration.template import Template, load_template
from TumorRetrievalLib.registration.view import PatientView, looks_stripped, shrunk, view_patient

Progress = Callable[[float, str], None]

STRETCH_LIMITS = (0.8, 1.4)
"""No adult's or child's brain is outside this, relative to the atlas; 0.93 to 1.21 were measured on real scans."""
MOST_UNEVEN = 1.35
"""Largest over smallest stretch."""
LARGEST_TURN_DEG = 50.0
LEAST_OVERLAP = 0.85
LEAST_AGREEMENT_INSIDE = 1.006
"""Real scans reached 1.009 to 1.03 inside the brain, noise in the shape of a brain 1.004."""

_STARTS = 2
_SAMPLED = 0.15
_SEED = 7
_THREADS = 1
"""The sums of the metric are split by it, so more would change the last digits of the result from machine to machine;
and on images this small, threads wait for one another more than they help."""


@dataclass(frozen=True, eq=False)
class _Fit:
    atlas_to_patient: np.ndarray
    stage: str
    agreement: float
    agreement_inside: float
    overlap: float

    @property
    def merit(self) -> float:
        """What the best of several fits has most of: the images and the outlines both have to agree."""
        return (self.agreement - 1.0) * self.overlap


def register_to_atlas(volume: Volume, *, progress: Progress | None = None) -> AtlasAlignment:
    """Brings a T1-weighted scan to the atlas, with or without its skull, of any orientation and slice thickness.

    The same scan always gives the same alignment: points are drawn with fixed seeds, and one thread does the work
    on every machine.

    :param progress: called with a fraction and a message; whatever it raises stops the work.
    :raises RegistrationFailed: if no plausible alignment was found; the message says why.
    """
    began = time.perf_counter()
    report = progress or (lambda fraction, message: None)
    report(0.0, "Looking at the scan")
    scan = shrunk(volume)
    first_guess = looks_stripped(scan)
    reasons = []
    for skull_stripped in (first_guess, not first_guess):
        try:
            fit = _register(scan, skull_stripped, report)
        except RegistrationFailed as failure:
            reasons.append(str(failure))
            continue
        report(1.0, "The scan is aligned with the atlas")
        return AtlasAlignment(
            patient_to_atlas=np.linalg.inv(fit.atlas_to_patient),
            brain_overlap=fit.overlap,
            agreement=fit.agreement,
            stage=fit.stage,
            skull_stripped=skull_stripped,
            seconds=time.perf_counter() - began,
        )
    raise RegistrationFailed(f"The scan could not be aligned with the atlas: {reasons[0]}")


def _register(scan: Volume, skull_stripped: bool, report: Progress) -> _Fit:
    template = load_template()
    view = view_patient(scan, skull_stripped=skull_stripped)
    if not view.brain.any():
        raise RegistrationFailed("no brain stands out in it.")
    report(0.1, "Finding the pose of the head")
    starts = find_starts(template, view, _STARTS)
    turned = turned_better(template, view, starts[0])
    if turned:
        raise RegistrationFailed(f"its header seems wrong, the head fits the atlas better {turned}.")
    fits = []
    for step, start in enumerate(starts):
        report(0.4 + 0.6 * step / len(starts), "Aligning the scan with the atlas")
        fits += _refine(template, view, start)
    problems = [(fit, _problem(fit)) for fit in fits]
    plausible = [fit for fit, problem in problems if problem is None]
    if not plausible:
        _, problem = max(problems, key=lambda pair: pair[0].merit)
        raise RegistrationFailed(problem)
    return max(plausible, key=lambda fit: fit.merit)


def _refine(template: Template, view: PatientView, start: Pose) -> list[_Fit]:
    """The similarity and the affine fit that follow from one start."""
    import SimpleITK

    judge = _Judge(template, view)
    images = _ItkImages(template, view)
    similarity = SimpleITK.Similarity3DTransform()
    similarity.SetCenter(CENTRE_MM.tolist())
    similarity.SetMatrix(start.matrix.ravel().tolist())
    similarity.SetTranslation((start.numbers[3:6] - CENTRE_MM).tolist())
    images.optimise(similarity)
    affine = SimpleITK.AffineTransform(3)
    affine.SetCenter(CENTRE_MM.tolist())
    affine.SetMatrix(similarity.GetMatrix())
    affine.SetTranslation(similarity.GetTranslation())
    images.optimise(affine)
    return [judge(_as_matrix(similarity), "similarity"), judge(_as_matrix(affine), "affine")]


class _ItkImages:
    """Template and patient as ITK images in plain world axes, compared by Mattes mutual information.

    ITK believes its axes to be LPS. Both images here are RAS, both grids are aligned with the axes, and a transform
    between two frames of the same kind is the same matrix in either; so nothing is ever flipped.
    """

    def __init__(self, template: Template, view: PatientView):
        self.template, self.compared = (_as_itk(data, template.grid) for data in (template.image, template.compared))
        self.patient, self.known = (_as_itk(data, view.grid) for data in (view.image, view.known))

    def optimise(self, transform) -> None:
        """Improves a transform in place.

        :raises RegistrationFailed: if too little of the patient lies on the template for ITK to go on.
        """
        import SimpleITK

        method = SimpleITK.ImageRegistrationMethod()
        method.SetMetricAsMattesMutualInformation(32)
        method.SetMetricFixedMask(self.compared)
        method.SetMetricMovingMask(self.known)
        method.SetMetricSamplingStrategy(method.REGULAR)
        method.SetMetricSamplingPercentage(_SAMPLED, _SEED)
        method.SetInterpolator(SimpleITK.sitkLinear)
        # With a line search every step is an improvement; fixed or estimated steps sent some affine fits far away.
        method.SetOptimizerAsConjugateGradientLineSearch(
            learningRate=1.0,
            numberOfIterations=50,
            convergenceMinimumValue=1e-5,
            convergenceWindowSize=6,
            lineSearchLowerLimit=0.0,
            lineSearchUpperLimit=3.0,
            lineSearchEpsilon=0.05,
            lineSearchMaximumIterations=8,
            estimateLearningRate=method.EachIteration,
            maximumStepSizeInPhysicalUnits=1.0,
        )
        method.SetOptimizerScalesFromPhysicalShift()
        method.SetNumberOfWorkUnits(_THREADS)
        method.SetInitialTransform(transform, inPlace=True)
        try:
            method.Execute(self.template, self.patient)
        except RuntimeError as error:
            raise RegistrationFailed("too little of the brain is in the scan.") from error


class _Judge:
    """Measures a fit with what the optimiser did not look at: every voxel of the brain, and its outline."""

    def __init__(self, template: Template, view: PatientView):
        from scipy import ndimage

        self._view = view
        around = ndimage.binary_dilation(template.brain, iterations=2)
        inside = ndimage.binary_erosion(template.brain, iterations=2)
        self._compare = Comparison(template, view, around, points=40_000)
        self._compare_inside = Comparison(template, view, inside, points=40_000)
        self._brain = template.brain.astype(np.float32)
        self._from_atlas = np.linalg.inv(template.grid.affine)

    def __call__(self, atlas_to_patient: np.ndarray, stage: str) -> _Fit:
        return _Fit(
            atlas_to_patient,
            stage,
            self._compare(atlas_to_patient),
            self._compare_inside(atlas_to_patient),
            self._overlap(atlas_to_patient),
        )

    def _overlap(self, atlas_to_patient: np.ndarray) -> float:
        from scipy import ndimage

        matrix = self._from_atlas @ np.linalg.inv(atlas_to_patient) @ self._view.grid.affine
        mapped = ndimage.affine_transform(self._brain, matrix[:3, :3], matrix[:3, 3], self._view.image.shape, order=1)
        atlas_brain, brain = (mapped > 0.5) & self._view.known, self._view.brain
        together = np.count_nonzero(atlas_brain) + np.count_nonzero(brain)
        return 2.0 * np.count_nonzero(atlas_brain & brain) / together if together else 0.0


def _problem(fit: _Fit) -> str | None:
    """Why a fit cannot be right, or None."""
    stretches, turn = stretches_and_turn(np.linalg.inv(fit.atlas_to_patient))
    if np.linalg.det(fit.atlas_to_patient[:3, :3]) <= 0:
        return "it would have to be mirrored."
    lowest, highest = STRETCH_LIMITS
    if stretches[0] > highest or stretches[2] < lowest or stretches[0] > MOST_UNEVEN * stretches[2]:
        return f"its brain would have to be stretched by {' x '.join(f'{s:.2f}' for s in stretches)}: implausible."
    if turn > LARGEST_TURN_DEG:
        return f"the head would have to be turned by {turn:.0f} degrees; check the orientation in the file's header."
    if fit.overlap < LEAST_OVERLAP:
        return f"its brain and the atlas brain overlap by {fit.overlap:.2f} only (Dice; at least {LEAST_OVERLAP})."
    if fit.agreement_inside < LEAST_AGREEMENT_INSIDE:
        return "it does not look like a brain inside its outline."
    return None


def _as_itk(data: np.ndarray, grid: Grid):
    import SimpleITK

    kind = np.uint8 if data.dtype == bool else np.float32
    image = SimpleITK.GetImageFromArray(np.ascontiguousarray(data.T.astype(kind)))
    image.SetSpacing(grid.spacing.tolist())
    image.SetOrigin(grid.affine[:3, 3].tolist())
    return image


def _as_matrix(transform) -> np.ndarray:
    matrix = np.eye(4)
    matrix[:3, :3] = np.reshape(transform.GetMatrix(), (3, 3))
    centre = np.array(transform.GetCenter())
    matrix[:3, 3] = np.array(transform.GetTranslation()) + centre - matrix[:3, :3] @ centre
    return matrix
