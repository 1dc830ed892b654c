"""A model on a GPU, called from several threads: one's rows are prepared while the other's are computed."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

import numpy as np
import torch

from worker.engines.fastest import FastestForward, Way
from worker.engines.fixed_shapes import Record, Replay
from worker.engines.protocol import Ids, Logits

#: Of all GPUs only one may be recorded at a time.
_RECORDING = threading.Lock()

#: By their names, such as cuda:0, and the lock of this.
_GPUS: dict[str, "Gpu"] = {}
_KNOWN = threading.Lock()


class Gpu:
    """What all models of a process on one GPU have in common: whose turn it is, and the streams.

    All that is computed is queued in one stream, so that recordings, which share the libraries' memory, run
    one after the other. Nothing else of ours is done on the GPU while something is recorded.
    """

    def __init__(self, device: str) -> None:
        self._device = torch.device(device)
        self._lock = threading.RLock()
        self._computing = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._recording = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        self._can_record = True

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let what the block does be queued, and no other thread's meanwhile."""
        with self._lock, torch.cuda.device(self._device), torch.cuda.stream(self._computing):
            yield

    def recorder(self) -> Record:
        """Return what records, within a turn; the recordings of one model share their memory.

        It raises whatever CUDA does where something cannot be recorded, and then at every call: what a
        recording that broke off leaves behind is not certain.
        """
        pool = torch.cuda.graph_pool_handle()

        def record(compute: Callable[[], torch.Tensor]) -> Replay:
            if not self._can_record:
                raise RuntimeError("an earlier recording broke off")
            # The outer block, for the inner one leaves the thread in its stream where it fails.
            with _RECORDING, torch.cuda.stream(self._recording):
                torch.cuda.synchronize(self._device)
                # What a library prepares at its first call must not be recorded.
                for _ in range(2):
                    compute()
                graph = torch.cuda.CUDAGraph()
                try:
                    # Of this thread alone: others load models from a disk, and wait for their results.
                    with torch.cuda.graph(
                        graph,
                        pool=pool,
                        stream=self._recording,
                        capture_error_mode="thread_local",
                    ):
                        found = compute()
                except BaseException:
                    self._can_record = False
                    # It does so by itself only after a recording that ended; else nothing would ever be
                    # given back to the GPU.
                    with suppress(Exception):
                        torch._C._cuda_endAllocateToPool(self._device.index, pool)
                    raise
                torch.cuda.synchronize(self._device)

            def replay() -> torch.Tensor:
                graph.replay()
                return found

            return replay

        return record


def gpu(device: str) -> Gpu:
    """Return what all models on `device`, such as cuda:0, have in common."""
    with _KNOWN:
        if device not in _GPUS:
            _GPUS[device] = Gpu(device)
        return _GPUS[device]


class GpuForward:
    """Computes logits in bf16 on one GPU; `model` and `longest` as in `FastestForward`.

    Its work is queued in turns, and waited for without: the next micro-batch stands in the queue when one is
    over.
    """

    def __init__(self, model: Any, device: str, longest: int, fastest: Way = "recorded") -> None:
        self._gpu = gpu(device)
        self._forward = FastestForward(
            model, device, longest, self._gpu.recorder(), self._gpu.turn, fastest
        )

    @property
    def way(self) -> Way:
        """How the model is called."""
        return self._forward.way

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]; raises `torch.cuda.OutOfMemoryError`."""
        rows = self._forward.laid_out(input_ids, attention_mask)
        with self._gpu.turn():
            found = self._forward.compute(rows).float()
            # A copy to memory that stays in its place is waited for by its event alone.
            logits = torch.empty(found.shape, dtype=torch.float32, pin_memory=True)
            logits.copy_(found, non_blocking=True)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record()
        done.synchronize()
        return np.array(logits.numpy())
