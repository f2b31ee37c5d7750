"""A tumor as it grows: the Fisher-Kolmogorov equation, one step at a time.

    u_tau = lambda div(p grad u) + u (1 - u)

With tau = rho T and lambda = D_white / rho the density depends on the seed, lambda (mm^2) and tau only. Diffusion and
growth are split (Strang): growth by its exact solution, diffusion by a stabilised Runge-Kutta-Legendre polynomial
(Meyer, Balsara and Aslam 2014, RKL2), whose stages all share one loop when it is written in Horner's form. Both are of
second order. Steps follow from lambda alone, so that a snapshot within a long run is, bit for bit, the end of a short
one.
"""

import math

import numpy as np
from numpy.polynomial import Polynomial, legendre

from TumorRetrievalLib.growth.kernels import count_from, count_overlap, diffuse, diffuse_and_react, react, widen
from TumorRetrievalLib.growth.tissue import Tissue

WHOLE_THRESHOLD = 0.2  # the density from which FLAIR shows the tumor (Rosier 2022, section 3.3)
CORE_THRESHOLD = 0.6  # the density from which T1 with contrast does

_LONGEST_STEP = 0.25  # of tau; longer ones bend the logistic front
# The seed is a few voxels wide. Until diffusion has smoothed it, a step may only be a fraction of the time that has
# passed, or the polynomial undershoots zero around it.
_EARLY_FRACTION = 0.15
_MOST_STAGES = 6
_SAFETY = 0.9
# Lower densities far ahead of the front pull it along: cutting at 1e-6 slows the wave by up to 1.2 %.
_CUT_OFF = np.float32(1e-12)


def _stage_weights(stages: int) -> list[float]:
    """Factors between the stages of RKL2 in Horner's form, innermost first; the last is 1."""
    scale = (stages**2 + stages - 2) / (2 * stages * (stages + 1))
    width = 4 / (stages**2 + stages - 2)
    polynomial = 1 - scale + scale * Polynomial(legendre.leg2poly([0] * stages + [1]))(Polynomial((1, width)))
    return [float(polynomial.coef[n] / polynomial.coef[n - 1]) for n in range(stages, 0, -1)]


_STAGE_WEIGHTS = {stages: _stage_weights(stages) for stages in range(2, _MOST_STAGES + 1)}


class Growth:
    """One tumor in one tissue.

    :param tissue: where it grows.
    :param initial: density at tau = 0, 0..1, in the tissue's layout; not zero everywhere.
    :param spread: lambda, mm^2 > 0.
    """

    def __init__(self, tissue: Tissue, initial: np.ndarray, spread: float):
        self.tissue = tissue
        self.tau = 0.0
        self.last_step = 0.0
        self._coupling = spread / tissue.spacing**2
        self._step, self._stages = self._next_step()
        self._stages_of_last = self._stages
        self._box = tissue.box_of(initial, margin=_MOST_STAGES)
        # A plain copy of `initial` would not start at a cache line.
        self._state, self._before, self._even, self._odd = (tissue.empty().ravel() for _ in range(4))
        self._state[:] = initial.ravel()
        # The state kept is half a reaction ahead of the density, so that one pass reacts for two half steps.
        react(self._state, _gain(self._step / 2), tissue.layout, self._box)

    def advance(self) -> None:
        """One step on."""
        step, stages = self._step, self._stages
        self.tau += step
        self.last_step, self._stages_of_last = step, stages
        self._step, self._stages = self._next_step()
        widen(self._state, _CUT_OFF, _MOST_STAGES, self.tissue.layout, self._box)
        self._leap(self._state, self._before, step, stages, _gain((step + self._step) / 2))
        self._state, self._before = self._before, self._state

    def count_voxels(self) -> tuple[int, int]:
        """The voxels of the whole tumor (density from 0.2) and of its core (from 0.6), now."""
        return count_from(self._state, *self._thresholds_ahead(), self.tissue.layout, self._box)

    def count_overlap(self, masks: np.ndarray) -> tuple[int, int]:
        """The voxels of the whole tumor that bit 1 of `masks` marks, and those of the core that bit 2 does, now.

        :param masks: uint8 in the tissue's layout.
        """
        return count_overlap(self._state, *self._thresholds_ahead(), masks.ravel(), self.tissue.layout, self._box)

    def density_at(self, tau: float) -> np.ndarray:
        """The density at a time within the last step, in the tissue's layout."""
        part = tau - (self.tau - self.last_step)
        start, end = self._before.copy(), self.tissue.empty().ravel()
        react(start, _gain((part - self.last_step) / 2), self.tissue.layout, self._box)
        self._leap(start, end, part, self._stages_of_last, _gain(part / 2))
        return end.reshape(self.tissue.shape)

    def _leap(self, start, end, step, stages, gain) -> None:
        layout, box, slope = self.tissue.layout, self._box, start
        *inner, last = (np.float32(weight * step * self._coupling) for weight in _STAGE_WEIGHTS[stages])
        for number, weight in enumerate(inner):
            out = self._odd if number % 2 else self._even
            diffuse(start, slope, out, weight, layout, box)
            slope = out
        diffuse_and_react(start, slope, end, last, gain, layout, box)

    def _next_step(self) -> tuple[float, int]:
        euler = 1 / (6 * self._coupling)
        wanted = min(_LONGEST_STEP, _EARLY_FRACTION * (self.tau + 3 * euler))
        for stages in _STAGE_WEIGHTS:
            stable = _SAFETY * euler * (stages**2 + stages - 2) / 4
            if stable >= wanted:
                break
        return min(wanted, stable), stages

    def _thresholds_ahead(self) -> tuple[np.float32, np.float32]:
        ahead = math.expm1(self._step / 2)
        return tuple(np.float32(u * (1 + ahead) / (1 + u * ahead)) for u in (WHOLE_THRESHOLD, CORE_THRESHOLD))


def _gain(step: float) -> np.float32:
    return np.float32(math.expm1(step))
