"""What a version's labelled rows look like, kept with it: what later rows are compared with."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from worker.predictions import probabilities

#: Bins of equal width over the confidence.
CONFIDENCE_BINS = 20

#: Upper edges of the bins over a text's tokens; the last bin has what is longer.
TOKEN_EDGES = (4, 8, 12, 16, 24, 32, 48, 64, 96, 128, 192, 256, 384, 512)


def reference_histograms(
    logits: npt.NDArray[np.float32],
    temperature: float,
    labels: Sequence[str],
    tokens: Sequence[int],
    split: str,
) -> dict[str, Any]:
    """Return counts of the predicted labels, of the confidence, and of the texts' tokens.

    `logits` is float32 [rows, labels]; `tokens` has a number a row. A confidence c falls into bin
    floor(c x 20), a length into the first bin whose upper edge is at least as large.
    """
    confidence = probabilities(logits, temperature).max(axis=1)
    places = np.minimum((confidence * CONFIDENCE_BINS).astype(int), CONFIDENCE_BINS - 1)
    lengths = np.searchsorted(TOKEN_EDGES, np.asarray(tokens))
    counts = np.bincount(logits.argmax(axis=1), minlength=len(labels))
    return {
        "split": split,
        "rows": len(logits),
        "labels": dict(zip(labels, counts.tolist(), strict=True)),
        "confidence": np.bincount(places, minlength=CONFIDENCE_BINS).tolist(),
        "tokens": {
            "upper_edges": list(TOKEN_EDGES),
            "counts": np.bincount(lengths, minlength=len(TOKEN_EDGES) + 1).tolist(),
        },
    }
