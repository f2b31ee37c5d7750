"""What makes one simulated tumor differ from another, in the two notations in use.

The literature gives a diffusivity D, a proliferation rate rho and an age T. The density at the end depends on them only
through lambda = D / rho and tau = rho T: every (D, rho, T) with the same two is the same tumor, grown faster or slower.
One scan can therefore never tell D, rho or T alone, and this module never returns one of them as if it could.
"""

from dataclasses import dataclass

import numpy as np

from TumorRetrievalLib.errors import InvalidGrowth

# Rosier 2022, section 3.1, in mm and days (1 cm^2/d = 100 mm^2/d).
DIFFUSIVITY_RANGE = (0.02, 1.5)
PROLIFERATION_RANGE = (0.002, 0.2)
AGE_RANGE = (50.0, 1500.0)


@dataclass(frozen=True)
class Rates:
    """One way of growing a tumor.

    :param diffusivity: in white matter, mm^2/day; the thesis' cm^2/d times 100.
    :param proliferation: 1/day.
    :param days: age.
    """

    diffusivity: float
    proliferation: float
    days: float


@dataclass(frozen=True)
class GrowthParameters:
    """All that the density at the time of the scan depends on.

    :param origin: where the tumor began, RAS mm in the atlas.
    :param spread: lambda = diffusivity in white matter / proliferation rate, mm^2.
    :param tau: age in units of 1 / proliferation rate.
    :raises InvalidGrowth: unless all are finite, and spread and tau positive.
    """

    origin: tuple[float, float, float]
    spread: float
    tau: float

    def __post_init__(self):
        origin = tuple(float(x) for x in self.origin)
        if len(origin) != 3 or not np.all(np.isfinite((*origin, self.spread, self.tau))):
            raise InvalidGrowth(
                "A tumor needs an origin of three finite coordinates, a finite lambda and a finite tau."
            )
        if self.spread <= 0 or self.tau <= 0:
            raise InvalidGrowth(f"lambda and tau must be positive, not {self.spread:g} mm^2 and {self.tau:g}.")
        object.__setattr__(self, "origin", origin)

    @classmethod
    def from_rates(cls, origin, rates: Rates) -> "GrowthParameters":
        """From the literature's parameters.

        :raises InvalidGrowth: unless all of them are positive.
        """
        if not min(rates.diffusivity, rates.proliferation, rates.days) > 0:
            raise InvalidGrowth("Diffusivity, proliferation rate and age must be positive.")
        return cls(tuple(origin), rates.diffusivity / rates.proliferation, rates.proliferation * rates.days)

    def rates_at_age(self, days: float) -> Rates:
        """The member of this tumor's family that is `days` old."""
        proliferation = self.tau / days
        return Rates(self.spread * proliferation, proliferation, days)

    def possible_ages(self) -> tuple[float, float] | None:
        """The ages, in days, for which all three of D, rho and T lie in the thesis' ranges; None if there are none."""
        slowest = max(PROLIFERATION_RANGE[0], DIFFUSIVITY_RANGE[0] / self.spread, self.tau / AGE_RANGE[1])
        fastest = min(PROLIFERATION_RANGE[1], DIFFUSIVITY_RANGE[1] / self.spread, self.tau / AGE_RANGE[0])
        return (self.tau / fastest, self.tau / slowest) if slowest <= fastest else None
