"""Logits into labels, confidences and scores."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import orjson

from db.store import dump_json

#: Probability from which on a multi-label model's label holds.
MULTI_LABEL_THRESHOLD = 0.5


@dataclass(frozen=True, slots=True)
class Predictions:
    """What a model says of some rows, a list a column."""

    labels: list[str]
    confidences: list[float]
    #: JSON objects: the score of each label, in the order of the model's labels.
    scores: list[str]
    #: JSON lists of every label that holds, for a multi-label model; None for the others.
    every_label: list[str | None]
    unsure: list[bool]


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
) -> Predictions:
    """Return what float32 [rows, labels] say.

    Rows with non-finite logits must be sorted out: what is returned for one means nothing.
    """
    if not len(logits):
        return Predictions([], [], [], [], [])
    with np.errstate(invalid="ignore"):
        shares = probabilities(logits, temperature, multi_label=multi_label).round(6)
    # Two logits may differ where their shares are the same number.
    best = logits.argmax(axis=1)
    confidences = shares[np.arange(len(shares)), best]
    unsure = confidences < (-np.inf if unsure_below is None else unsure_below)
    return Predictions(
        labels=[labels[index] for index in best.tolist()],
        confidences=confidences.tolist(),
        scores=_objects(shares, labels),
        every_label=_holding(shares, labels) if multi_label else [None] * len(shares),
        unsure=unsure.tolist(),
    )


def _objects(shares: npt.NDArray[np.float64], labels: Sequence[str]) -> list[str]:
    """Return a JSON object a row: the numbers of each label are written at once, then put together."""
    columns = orjson.dumps(np.ascontiguousarray(shares.T), option=orjson.OPT_SERIALIZE_NUMPY)
    numbers = [column.split(",") for column in columns.decode()[2:-2].split("],[")]
    row = ",".join(f"{dump_json(label)}:".replace("%", "%%") + "%s" for label in labels)
    return list(map(f"{{{row}}}".__mod__, zip(*numbers, strict=True)))


def _holding(shares: npt.NDArray[np.float64], labels: Sequence[str]) -> list[str | None]:
    return [
        dump_json([name for name, holds in zip(labels, row, strict=True) if holds])
        for row in (shares >= MULTI_LABEL_THRESHOLD).tolist()
    ]
