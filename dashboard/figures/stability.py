"""The population stability index: how far counts have moved from those of a reference."""

import math
from collections.abc import Sequence

#: Above this, people commonly say, a population has shifted (Siddiqi, Credit Risk Scorecards, 2006: up
#: to 0.1 little changed, from 0.25 on much; 0.2 is the mark that most tools draw).
SHIFTED = 0.2

#: Added to each count, so that a bin without a row has a logarithm.
_SMOOTHING = 0.5


def stability_index(reference: Sequence[int], now: Sequence[int]) -> float | None:
    """Return the sum over the bins of (q - p) ln(q / p), with p of the reference and q of now.

    0 where both have the same shares. Without any difference about (bins - 1) (1/n + 1/m) comes from
    chance alone, for n and m rows. None where either has no rows.
    """
    if not sum(reference) or not sum(now):
        return None
    shares: list[list[float]] = []
    for counts in (reference, now):
        total = sum(counts) + _SMOOTHING * len(counts)
        shares.append([(count + _SMOOTHING) / total for count in counts])
    index: float = sum((q - p) * math.log(q / p) for p, q in zip(*shares, strict=True))
    return index
