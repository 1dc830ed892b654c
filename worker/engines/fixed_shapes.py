"""A packed model on a few fixed shapes, each of which a GPU records once and then does by itself.

What a model's hundred and more steps take of Python, once for each micro-batch, is more than what a
GPU takes to do them, and the interpreter lock is held meanwhile. A recording (a CUDA graph) is started by
one call, but has its sizes and its memory for good: rows are put into the next larger shape.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch

from worker.engines.packed import PackedModel, PackedRows, as_tensors

#: Does something on a GPU once more, by itself; the result stands where it stood the first time.
Replay = Callable[[], torch.Tensor]

#: Makes a `Replay` of a computation on a GPU.
Record = Callable[[Callable[[], torch.Tensor]], Replay]

#: Tokens of the shapes: with a step of at most a half between two, a fifth is unused at most times.
SHAPES = tuple(1024 * n for n in (1, 2, 3, 4, 6, 8, 12, 16, 24, 32))

#: A shape has room for a row for each so many tokens; the shortest rows have three.
_TOKENS_A_ROW = 4


@dataclass(frozen=True, slots=True)
class Shape:
    """A recording, and where its input stands on the GPU."""

    ids: torch.Tensor
    positions: torch.Tensor
    bounds: torch.Tensor
    replay: Replay


class FixedShapes:
    """Calls a packed model by recordings, one for each shape, made when it is first needed.

    Not safe for several threads: its owner holds a lock, and has consumed a result, or queued that, before
    the next call.
    """

    def __init__(
        self, model: PackedModel, record: Record, device: str, shapes: Sequence[int] = SHAPES
    ) -> None:
        self._model = model
        self._record = record
        self._device = device
        self._sizes = sorted(shapes)
        self._shapes: dict[int, Shape] = {}

    def __call__(self, rows: PackedRows) -> torch.Tensor | None:
        """Return the logits of `rows`, [rows, labels] on the device; None if no shape is large enough."""
        size = next((size for size in self._sizes if _fits(rows, size)), None)
        if size is None:
            return None
        shape = self._shapes.get(size) or self._recorded(size)
        self._put(rows, shape)
        return shape.replay()[: len(rows)]

    def _recorded(self, size: int) -> Shape:
        ids, positions = (torch.zeros(size, dtype=torch.int64, device=self._device) for _ in "ip")
        bounds = torch.zeros(size // _TOKENS_A_ROW + 1, dtype=torch.int32, device=self._device)
        # What is recorded computes something sensible, too: one row.
        bounds[1:] = 1
        replay = self._record(lambda: self._model(ids, positions, bounds))
        shape = self._shapes[size] = Shape(ids, positions, bounds, replay)
        return shape

    def _put(self, rows: PackedRows, shape: Shape) -> None:
        """Put rows where a recording reads them; what is behind them is of no row.

        The bounds behind the last row's are its end, so that rows which are not there have no token. Ids
        and places of an earlier call stay behind the last token: in reach, and nobody looks at them.
        """
        rest = np.full(len(shape.bounds) - len(rows.bounds), rows.bounds[-1], dtype=np.int32)
        filled = PackedRows(rows.ids, rows.positions, np.concatenate((rows.bounds, rest)))
        for given, place in zip(
            as_tensors(filled), (shape.ids, shape.positions, shape.bounds), strict=True
        ):
            staged = given.pin_memory() if place.is_cuda else given
            place[: len(given)].copy_(staged, non_blocking=True)


def _fits(rows: PackedRows, size: int) -> bool:
    return len(rows.ids) <= size and len(rows) <= size // _TOKENS_A_ROW


def cuda_record(device: str) -> Record:
    """Return what records on a GPU; its recordings share their memory, so that one runs at a time.

    Raises whatever CUDA does where something cannot be recorded.
    """
    pool = torch.cuda.graph_pool_handle()

    def record(compute: Callable[[], torch.Tensor]) -> Replay:
        # What a library prepares at its first call must not be recorded.
        for _ in range(2):
            compute()
        torch.cuda.synchronize(device)
        graph = torch.cuda.CUDAGraph()
        # Of this thread alone: others copy, allocate and load models meanwhile.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            found = compute()

        def replay() -> torch.Tensor:
            graph.replay()
            return found

        return replay

    return record
