"""Logits into labels, confidences and scores."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

#: Probability from which on a multi-label model's label holds.
MULTI_LABEL_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Prediction:
    """What a model says of one row."""

    label: str
    confidence: float
    scores: Mapping[str, float]
    #: Every label that holds, for a multi-label model; None for the others.
    labels: Sequence[str] | None
    unsure: bool


def probabilities(
    logits: npt.NDArray[np.float32], temperature: float = 1.0, *, multi_label: bool = False
) -> npt.NDArray[np.float64]:
    """Return float64 [rows, labels] of float32 [rows, labels]: softmax of logits / temperature.

    Of a multi-label model each label has a probability of its own: the logistic function.
    """
    scaled = logits.astype(np.float64) / temperature
    if multi_label:
        result: npt.NDArray[np.float64] = 0.5 * (1.0 + np.tanh(0.5 * scaled))
        return result
    scaled -= scaled.max(axis=1, keepdims=True)
    exponentials = np.exp(scaled)
    normalised: npt.NDArray[np.float64] = exponentials / exponentials.sum(axis=1, keepdims=True)
    return normalised


def predict(
    logits: npt.NDArray[np.float32],
    *,
    labels: Sequence[str],
    temperature: float = 1.0,
    unsure_below: float | None = None,
    multi_label: bool = False,
) -> list[Prediction]:
    """Return one prediction for each row of float32 [rows, labels].

    Rows with non-finite logits must have been sorted out: what is returned for one means nothing.
    """
    if not len(logits):
        return []
    with np.errstate(invalid="ignore"):
        shares = probabilities(logits, temperature, multi_label=multi_label)
    # Two logits may differ where their shares are the same number.
    best = logits.argmax(axis=1).tolist()
    rounded = shares.round(6).tolist()
    predictions = []
    for row, index in zip(rounded, best, strict=True):
        confidence = row[index]
        holding = None
        if multi_label:
            holding = [
                name
                for name, share in zip(labels, row, strict=True)
                if share >= MULTI_LABEL_THRESHOLD
            ]
        predictions.append(
            Prediction(
                label=labels[index],
                confidence=confidence,
                scores=dict(zip(labels, row, strict=True)),
                labels=holding,
                unsure=unsure_below is not None and confidence < unsure_below,
            )
        )
    return predictions
