"""How sure a mean is: intervals for what is measured on a few cases, patients or splits."""

from collections.abc import Sequence

import numpy as np

LEVEL = 0.95
DRAWS = 2000


def mean_with_interval(values: Sequence[float | None], seed: int = 0) -> dict[str, float | int | None]:
    """The mean of a measure over cases, and its 95 % interval by the bootstrap over them (percentiles, seeded).

    :param values: one per case; None where it is not defined.
    :returns: `mean`, `low`, `high`, `n`; the first three are None where there is no case, `low` and `high` also where
        there is only one.
    """
    known = np.array([value for value in values if value is not None], float)
    if len(known) == 0:
        return {"mean": None, "low": None, "high": None, "n": 0}
    mean = round(float(known.mean()), 4)
    if len(known) == 1:
        return {"mean": mean, "low": None, "high": None, "n": 1}
    draws = np.random.default_rng(seed).choice(known, (DRAWS, len(known))).mean(axis=1)
    low, high = np.percentile(draws, (50 * (1 - LEVEL), 50 * (1 + LEVEL)))
    return {"mean": mean, "low": round(float(low), 4), "high": round(float(high), 4), "n": len(known)}


def mean_over_splits(values: Sequence[float | None]) -> dict[str, float | int | None]:
    """The mean over a few splits with its 95 % interval by Student's t.

    Splits of one cohort share patients, so the interval says how much the choice of the split matters, and not how far
    other patients would differ.
    """
    from scipy import stats

    known = np.array([value for value in values if value is not None], float)
    if len(known) < 2:
        return mean_with_interval(list(known))
    mean, half = known.mean(), stats.t.ppf((1 + LEVEL) / 2, len(known) - 1) * stats.sem(known)
    return {
        "mean": round(float(mean), 4),
        "low": round(float(mean - half), 4),
        "high": round(float(mean + half), 4),
        "n": len(known),
    }
