"""Accuracy, macro-F1, per-class figures and the confusion matrix, by their textbook formulas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: One count per label.
Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassMetrics:
    """One label's precision, recall and F1 (0 to 1), and its number of true rows."""

    label: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class Metrics:
    """How predictions compare with the truth over `rows` rows.

    `confusion[i][j]` counts the rows of true label i that were predicted as label j.
    """

    rows: int
    accuracy: float
    macro_f1: float
    per_class: tuple[ClassMetrics, ...]
    confusion: tuple[tuple[int, ...], ...]


def measure(truth: Sequence[int], predicted: Sequence[int], labels: Sequence[str]) -> Metrics:
    """Compare predicted with true label ids (two sequences of one length, ids into `labels`).

    Precision is TP / (TP + FP), recall TP / (TP + FN), F1 = 2 TP / (2 TP + FP + FN), each 0
    where its denominator is 0; macro-F1 is their plain mean over the labels that occur in truth
    or prediction. Raises ValueError when the lengths differ or there are no rows.
    """
    if len(truth) != len(predicted) or not len(truth):
        raise ValueError(f"{len(truth)} true and {len(predicted)} predicted labels")
    size = len(labels)
    pairs = np.asarray(truth) * size + np.asarray(predicted)
    confusion = np.bincount(pairs, minlength=size * size).reshape(size, size)
    hits = np.diag(confusion)
    true_rows = confusion.sum(axis=1)
    predicted_rows = confusion.sum(axis=0)
    precision = _share(hits, predicted_rows)
    recall = _share(hits, true_rows)
    f1 = _share(2 * hits, true_rows + predicted_rows)
    occurs = (true_rows + predicted_rows) > 0
    return Metrics(
        rows=len(truth),
        accuracy=float(hits.sum() / len(truth)),
        macro_f1=float(f1[occurs].mean()),
        per_class=tuple(
            ClassMetrics(
                label, float(precision[i]), float(recall[i]), float(f1[i]), int(true_rows[i])
            )
            for i, label in enumerate(labels)
        ),
        confusion=tuple(tuple(int(count) for count in row) for row in confusion),
    )


def metrics_record(metrics: Metrics) -> dict[str, Any]:
    """Return metrics as JSON holds them: rows, accuracy, macro_f1, per_class by label, confusion."""
    return {
        "rows": metrics.rows,
        "accuracy": metrics.accuracy,
        "macro_f1": metrics.macro_f1,
        "per_class": {
            one.label: {
                "precision": one.precision,
                "recall": one.recall,
                "f1": one.f1,
                "support": one.support,
            }
            for one in metrics.per_class
        },
        "confusion": [list(row) for row in metrics.confusion],
    }


def _share(part: Counts, whole: Counts) -> NDArray[np.float64]:
    share: NDArray[np.float64] = np.divide(part, whole, out=np.zeros(len(part)), where=whole > 0)
    return share
