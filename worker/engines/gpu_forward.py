"""A model on a GPU, called from several threads: one's rows are prepared while the other's are computed."""

import threading
from typing import Any

import numpy as np
import torch

from worker.engines.fastest import FastestForward, Way
from worker.engines.fixed_shapes import cuda_record
from worker.engines.protocol import Ids, Logits


class GpuForward:
    """Computes logits in bf16 on one GPU; `model` and `longest` as in `FastestForward`.

    Its work is queued under a lock, and waited for without: the next micro-batch stands in the queue when
    one is over.
    """

    def __init__(self, model: Any, device: str, longest: int, fastest: Way = "recorded") -> None:
        self._lock = threading.Lock()
        self._stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
        with torch.cuda.device(device), torch.cuda.stream(self._stream):
            self._forward = FastestForward(model, device, longest, cuda_record(device), fastest)

    @property
    def way(self) -> Way:
        """How the model is called."""
        return self._forward.way

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]; raises `torch.cuda.OutOfMemoryError`."""
        with self._lock, torch.cuda.device(self._stream.device), torch.cuda.stream(self._stream):
            found = self._forward(input_ids, attention_mask).float()
            logits = torch.empty(found.shape, dtype=torch.float32, pin_memory=True)
            logits.copy_(found, non_blocking=True)
            done = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]
            done.record(self._stream)
        done.synchronize()
        return np.array(logits.numpy())
