"""One micro-batch through an engine; one that fails is halved until the guilty row stands alone."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass

import numpy as np

from worker.encoder import EncodedRows
from worker.engines.protocol import Engine, EngineOutOfMemory, Ids, Logits

log = logging.getLogger(__name__)

#: Tries of a row that stands alone, after which it is the row's fault.
TRIES_ALONE = 2


@dataclass(frozen=True)
class Computed:
    """What came of a micro-batch."""

    #: float32 [rows, labels]; the rows of `rejected` mean nothing.
    logits: Logits
    #: Why a row has no logits, by its place in the micro-batch.
    rejected: dict[int, str]


def compute(
    engine: Engine,
    rows: EncodedRows,
    labels: int,
    around: Callable[[], AbstractContextManager[None]],
) -> Computed:
    """Return the logits of `rows`; `around` stands around each single call of the engine.

    Never raises for what the engine does: a row that fails alone twice, and one whose logits are
    not finite, is rejected, and its neighbours are not.
    """
    logits = np.zeros((len(rows), labels), dtype=np.float32)
    rejected: dict[int, str] = {}
    parts = [(0, len(rows))]
    while parts:
        start, stop = parts.pop()
        alone = stop - start == 1
        error: Exception | None = None
        for _ in range(TRIES_ALONE if alone else 1):
            try:
                with around():
                    logits[start:stop] = _called(engine, rows.part(start, stop), labels)
                error = None
                break
            except Exception as raised:  # noqa: BLE001  (an engine may raise anything for a row)
                error = raised
        if error is None:
            continue
        if alone:
            rejected[start] = f"engine error: {type(error).__name__}"
            continue
        if not isinstance(error, EngineOutOfMemory):
            log.warning("a micro-batch failed (%s); halving it", type(error).__name__)
        middle = (start + stop) // 2
        parts += [(middle, stop), (start, middle)]
    for place in np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist():
        rejected[place] = "non-finite logits"
    return Computed(logits, rejected)


def _called(engine: Engine, rows: EncodedRows, labels: int) -> Logits:
    found = engine.logits(*padded(rows, engine.padding_id))
    if found.shape != (len(rows), labels):
        # Broadcast into the result, a wrong shape would pass for logits.
        raise ValueError(f"logits of shape {found.shape}, not {(len(rows), labels)}")
    return found


def padded(rows: EncodedRows, padding_id: int) -> tuple[Ids, Ids]:
    """Return int64 [rows, longest] ids, filled with `padding_id`, and their mask of 0 and 1."""
    lengths = rows.lengths
    columns = np.arange(max(int(lengths.max()), 1))
    mask = columns < lengths[:, np.newaxis]
    ids = np.full(mask.shape, padding_id, dtype=np.int64)
    ids[mask] = rows.ids
    return ids, mask.astype(np.int64)
