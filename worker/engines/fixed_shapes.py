"""A packed model on a few fixed shapes, each of which a GPU records once and then does by itself.

What a model's hundred and more steps take of Python, once for each micro-batch, is more than what a
GPU takes to do them, and the interpreter lock is held meanwhile. A recording (a CUDA graph) is started by
one call, but has its sizes and its memory for good: rows are put into the next larger shape.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from worker.engines.packed import PackedModel, PackedRows, as_tensors

#: Does something on a GPU once more, by itself; the result stands where it stood the first time.
Replay = Callable[[], torch.Tensor]

#: Makes a `Replay` of a computation on a GPU.
Record = Callable[[Callable[[], torch.Tensor]], Replay]

#: Tokens of the shapes: past the first, less than half of the one that rows are put into is unused.
SHAPES = tuple(1024 * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))

#: A shape has room for a row for each so many tokens. Rows that are not there take a little time, too, and
#: many very short ones are put into a larger shape.
TOKENS_A_ROW = 8


@dataclass(frozen=True, slots=True)
class Shape:
    """A recording, and where its input stands on the GPU."""

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    replay: Replay


class FixedShapes:
    """Calls a packed model by recordings, one for each shape that was added.

    Not safe for several threads: its owner holds a lock, and has consumed a result, or queued that, before
    the next call.
    """

    def __init__(self, model: PackedModel, record: Record, device: str) -> None:
        self._model = model
        self._record = record
        self._device = device
        self._shapes: dict[int, Shape] = {}

    def __len__(self) -> int:
        return len(self._shapes)

    def add(self, size: int) -> None:
        """Record a shape of so many tokens; raises what the recording raises."""
        ids, positions = (torch.zeros(size, dtype=torch.int64, device=self._device) for _ in "ip")
        bounds = torch.zeros(size // TOKENS_A_ROW + 1, dtype=torch.int32, device=self._device)
        # What is recorded computes something sensible, too: one row of one token.
        bounds[1:] = 1
        replay = self._record(lambda: self._model(ids, positions, bounds))
        self._shapes[size] = Shape(ids, positions, bounds, replay)

    def remove(self, size: int) -> None:
        """Forget a shape, if it is there."""
        self._shapes.pop(size, None)

    def __call__(self, rows: PackedRows) -> torch.Tensor | None:
        """Return the logits of `rows`, [rows, labels] on the device; None if no shape is large enough."""
        size = min((size for size in self._shapes if fits(rows, size)), default=None)
        if size is None:
            return None
        shape = self._shapes[size]
        _put(rows, shape)
        return shape.replay()[: len(rows)]


def fits(rows: PackedRows, size: int) -> bool:
    """Whether a shape of so many tokens has room for `rows`."""
    return len(rows.ids) <= size and len(rows) <= size // TOKENS_A_ROW


def _put(rows: PackedRows, shape: Shape) -> None:
    """Put rows where a recording reads them; what is behind them is of no row.

    The bounds behind the last row's are its end, so that rows which are not there have no token. Ids
    and places of an earlier call stay behind the last token: in reach, and nobody looks at them.
    """
    rest = np.full(len(shape.bounds) - len(rows.bounds), rows.bounds[-1], dtype=np.int32)
    filled = PackedRows(rows.ids, rows.positions, np.concatenate((rows.bounds, rest)))
    places = shape.ids, shape.positions, shape.bounds
    for given, place in zip(as_tensors(filled), places, strict=True):
        # From memory that stays in its place, so that nobody waits for the copy.
        staged = given.pin_memory() if place.is_cuda else given
        place[: len(given)].copy_(staged, non_blocking=True)
