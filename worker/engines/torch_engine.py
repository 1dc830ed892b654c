"""The engine that is always there: torch, fp32 on a CPU and bf16 on a GPU."""

import re
from collections.abc import Callable
from pathlib import Path

from db.errors import UsageError
from worker.encoder import TokenizerEncoder
from worker.engines.protocol import EngineOutOfMemory, Ids, Logits
from worker.engines.torch_model import load_model
from worker.threads import asked_threads, micro_batch_tokens, usable_cpus

#: Of the sizes tried on 2 cores none was better by more than noise: see docs/engines.md.
_TOKENS_A_THREAD = 512

#: A GPU wants many rows at once, and is given no padding: what four chunks have. Not measured yet.
_GPU_TOKENS = 32_768

#: On a GPU: one that is computed, and one that is prepared meanwhile.
_GPU_AT_ONCE = 2


class TorchEngine:
    """The merged model under torch.

    `folder` holds model.safetensors, config.json and tokenizer.json; `threads` as in
    `worker.threads.asked_threads`, for torch in the whole process. Raises `UsageError` for a device
    that is not there, `RegistryError` for a model that cannot be read.
    """

    name = "torch"

    def __init__(
        self, folder: Path, max_length: int, device: str = "auto", threads: int | None = None
    ) -> None:
        import torch

        # Its own choice is one for each core, but of the machine's, not of a container's.
        torch.set_num_threads(asked_threads(threads) or min(torch.get_num_threads(), usable_cpus()))
        self._torch = torch
        self.device = _device(device)
        self.encoder = TokenizerEncoder(folder, max_length)
        self.padding_id = self.encoder.padding_id
        model = load_model(folder)
        self._forward: Callable[[Ids, Ids], Logits]
        if self.device == "cpu":
            # bf16 is slower than fp32 on a CPU that has no matrix unit for it.
            self.at_once = 1
            self.micro_batch_tokens = micro_batch_tokens(torch.get_num_threads(), _TOKENS_A_THREAD)
            from worker.engines.cpu_forward import CpuForward

            self._forward = CpuForward(model)
        else:
            from worker.engines.gpu_forward import GpuForward

            self.at_once = _GPU_AT_ONCE
            self.micro_batch_tokens = _GPU_TOKENS
            self._forward = GpuForward(model, self.device, max_length)

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]; raises `EngineOutOfMemory` when a GPU has too little."""
        torch = self._torch
        try:
            return self._forward(input_ids, attention_mask)
        except torch.cuda.OutOfMemoryError:
            pass
        # Only now, for the error held what was computed so far.
        torch.cuda.empty_cache()
        raise EngineOutOfMemory


def _device(wanted: str) -> str:
    import torch

    if wanted == "cpu":
        return "cpu"
    if wanted == "auto":
        return "cuda:0" if torch.cuda.is_available() else "cpu"
    named = re.fullmatch(r"cuda(?::(\d+))?", wanted)
    if named is None:
        raise UsageError(f"device {wanted!r} is none of auto, cpu, cuda, cuda:N")
    index = int(named[1] or 0)
    if not torch.cuda.is_available() or index >= torch.cuda.device_count():
        raise UsageError(
            f"device {wanted} is not there; set LABELSTREAM_DEVICE=auto, or install torch's CUDA "
            "build and a driver for it"
        )
    return f"cuda:{index}"
