"""Confidence that means what it says: temperature scaling, calibration error, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from worker.predictions import probabilities

#: Bins of equal width over the confidence, as in Guo et al., "On Calibration of Modern Neural
#: Networks", 2017.
BINS = 15

#: Temperatures that are tried: outside of these the logits themselves are of no use.
LOWEST_TEMPERATURE, HIGHEST_TEMPERATURE = 0.05, 20.0

#: Width of the last interval, as a logarithm: four digits of the temperature.
_PRECISION = 1e-5

Logits = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Bin:
    """The rows whose confidence lies in one bin: how many, how sure, how often right."""

    lower: float
    upper: float
    rows: int
    confidence: float
    accuracy: float


def log_loss(logits: Logits, truth: Sequence[int], temperature: float = 1.0) -> float:
    """Return the mean of -ln p(true label) over float32 [rows, labels] logits / temperature."""
    surprise = _surprises(logits, temperature)
    return float(surprise[np.arange(len(truth)), np.asarray(truth)].mean())


def fit_temperature(logits: Logits, truth: Sequence[int]) -> float:
    """Return the temperature of lowest log loss: what the logits are divided by when serving.

    The truth counts 1 - 1 / (rows + 2), the other labels share the rest, as in Platt,
    "Probabilistic Outputs for Support Vector Machines", 1999: a few rows that are all right prove
    no certainty. The loss is convex in 1 / temperature, so along its logarithm it falls and then
    rises: a golden-section search finds the bottom.
    """
    rows, labels = logits.shape
    doubt = 1 / (rows + 2)
    target = np.full((rows, labels), doubt / (labels - 1))
    target[np.arange(rows), np.asarray(truth)] = 1 - doubt

    def loss(at: float) -> float:
        return float((target * _surprises(logits, float(np.exp(at)))).sum())

    low, high = np.log(LOWEST_TEMPERATURE), np.log(HIGHEST_TEMPERATURE)
    golden = (np.sqrt(5) - 1) / 2
    left, right = high - golden * (high - low), low + golden * (high - low)
    loss_left, loss_right = loss(left), loss(right)
    while high - low > _PRECISION:
        if loss_left <= loss_right:
            high, right, loss_right = right, left, loss_left
            left = high - golden * (high - low)
            loss_left = loss(left)
        else:
            low, left, loss_left = left, right, loss_right
            right = low + golden * (high - low)
            loss_right = loss(right)
    return float(np.exp((low + high) / 2))


def _surprises(logits: Logits, temperature: float) -> npt.NDArray[np.float64]:
    """Return -ln p of every label of every row."""
    scaled = logits.astype(np.float64) / temperature
    scaled -= scaled.max(axis=1, keepdims=True)
    surprises: npt.NDArray[np.float64] = np.log(np.exp(scaled).sum(axis=1, keepdims=True)) - scaled
    return surprises


def reliability(
    logits: Logits, truth: Sequence[int], temperature: float = 1.0, bins: int = BINS
) -> list[Bin]:
    """Return the bins of the confidence, the best label's share, that hold any rows."""
    shares = probabilities(logits, temperature)
    confidence = shares.max(axis=1)
    right = logits.argmax(axis=1) == np.asarray(truth)
    # A confidence on an edge belongs to the bin below it, as in the paper: (lower, upper].
    place = np.clip(np.ceil(confidence * bins).astype(int) - 1, 0, bins - 1)
    found = []
    for index in range(bins):
        inside = place == index
        if inside.any():
            found.append(
                Bin(
                    lower=index / bins,
                    upper=(index + 1) / bins,
                    rows=int(inside.sum()),
                    confidence=float(confidence[inside].mean()),
                    accuracy=float(right[inside].mean()),
                )
            )
    return found


def calibration_error(bins: Sequence[Bin]) -> float:
    """Return the expected calibration error: the mean of |accuracy - confidence| over all rows."""
    rows = sum(each.rows for each in bins)
    return sum(each.rows * abs(each.accuracy - each.confidence) for each in bins) / rows
