"""A share that was counted in a sample, and between what bounds it may be in all."""

import math
from dataclasses import dataclass
from statistics import NormalDist

#: Of 100 samples, about this many give an interval that holds the share in all.
CONFIDENCE = 0.95

#: How many standard deviations that is: 1.96.
_DEVIATIONS = NormalDist().inv_cdf(0.5 + CONFIDENCE / 2)


@dataclass(frozen=True, slots=True)
class Proportion:
    """So many of the rows that were looked at."""

    rows: int
    right: int
    #: `right` by `rows`, and its 95 % interval; None where no row was looked at.
    share: float | None
    low: float | None
    high: float | None


def proportion(right: int, rows: int) -> Proportion:
    """Return the share of `right` in `rows` with its 95 % score interval.

    That of Wilson (Probable inference, the law of succession, and statistical inference, Journal of
    the American Statistical Association 22, 1927): the shares that a test by the normal distribution
    would not reject. It keeps within 0 and 1, and has a width where none or all are right.
    """
    if not rows:
        return Proportion(0, 0, None, None, None)
    share = right / rows
    square = _DEVIATIONS**2
    middle = share + square / (2 * rows)
    reach = _DEVIATIONS * math.sqrt(share * (1 - share) / rows + square / (4 * rows**2))
    scale = 1 + square / rows
    # Where none or all are right a bound is 0 or 1, but for the rounding.
    low = 0.0 if right == 0 else (middle - reach) / scale
    high = 1.0 if right == rows else (middle + reach) / scale
    return Proportion(rows, right, share, low, high)
