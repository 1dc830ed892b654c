"""A model in fp32 on a CPU."""

from typing import Any

import numpy as np
import torch

from worker.engines.heap import Heap
from worker.engines.onednn import by_onednn
from worker.engines.protocol import Ids, Logits


class CpuForward:
    """Computes logits with `model`, which is in fp32 on the CPU, by torch's threads."""

    def __init__(self, model: Any) -> None:
        self._model = by_onednn(model)
        self._heap = Heap()

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels] for int64 [rows, length]."""
        ids, mask = torch.from_numpy(input_ids), torch.from_numpy(attention_mask)
        with torch.inference_mode():
            found = self._model(input_ids=ids, attention_mask=mask).logits
        self._heap.used()
        return np.asarray(found.numpy(), dtype=np.float32)
