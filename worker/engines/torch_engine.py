"""The engine that is always there: torch, fp32 on a CPU and bf16 on a GPU."""

import os
import re
from pathlib import Path

import numpy as np

from db.errors import RegistryError, UsageError
from worker.encoder import TokenizerEncoder
from worker.engines.protocol import EngineOutOfMemory, Ids, Logits
from worker.threads import asked_threads, micro_batch_tokens, usable_cpus

#: What a config.json may ask for beside the logits, or instead of a result that names them.
LOGITS_ALONE = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


#: The best of the sizes tried on 2 cores: see docs/engines.md.
_TOKENS_A_THREAD = 512

#: A GPU wants many rows at once; not measured yet.
_GPU_TOKENS = 16_384


class TorchEngine:
    """The merged model under torch, with scaled-dot-product attention.

    `folder` holds model.safetensors, config.json and tokenizer.json; `threads` as in
    `worker.threads.asked_threads`, for torch in the whole process. Raises `UsageError` for a device
    that is not there, `RegistryError` for a model that cannot be read.
    """

    name = "torch"
    at_once = 1

    def __init__(
        self, folder: Path, max_length: int, device: str = "auto", threads: int | None = None
    ) -> None:
        # Nothing is asked of a hub: the folder has everything, and `local_files_only` sees to it.
        # HF_HUB_OFFLINE would do more than that: a child that merges the next version inherits
        # it, and may have to fetch a base.
        os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
        os.environ["TRANSFORMERS_NO_ADVISORY_WARNINGS"] = "1"
        import torch
        from transformers import AutoModelForSequenceClassification
        from transformers.utils import logging as transformers_logging

        transformers_logging.set_verbosity_error()
        transformers_logging.disable_progress_bar()
        self._torch = torch
        # Its own choice is one for each core, but of the machine's, not of a container's.
        torch.set_num_threads(asked_threads(threads) or min(torch.get_num_threads(), usable_cpus()))
        self.device = _device(device)
        self.encoder = TokenizerEncoder(folder, max_length)
        self.padding_id = self.encoder.padding_id
        on_gpu = self.device.startswith("cuda")
        try:
            model, report = AutoModelForSequenceClassification.from_pretrained(
                folder,
                local_files_only=True,
                use_safetensors=True,
                trust_remote_code=False,
                output_loading_info=True,
                # Told below, by name: its own error points to a table on stderr.
                ignore_mismatched_sizes=True,
                # bf16 is slower than fp32 on a CPU that has no matrix unit for it.
                dtype=torch.bfloat16 if on_gpu else torch.float32,
                **LOGITS_ALONE,
            )
        except Exception as error:  # noqa: BLE001  (a damaged model may raise anything)
            raise RegistryError(f"the model in {folder} cannot be loaded: {error}") from None
        if unfit := sorted(report["mismatched_keys"]):
            name, given, wanted = unfit[0]
            raise RegistryError(
                f"the model in {folder} has weights of another shape than its config.json says: "
                f"{name} is {list(given)}, not {list(wanted)} ({len(unfit)} such)"
            )
        if missing := sorted(report["missing_keys"]):
            # Such weights would be random: labels without a meaning.
            raise RegistryError(
                f"the model in {folder} has no weights for {missing[0]} ({len(missing)} missing)"
            )
        self._model = model.to(self.device).eval()
        self.micro_batch_tokens = (
            _GPU_TOKENS if on_gpu else micro_batch_tokens(torch.get_num_threads(), _TOKENS_A_THREAD)
        )

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]; raises `EngineOutOfMemory` when a GPU has too little."""
        torch = self._torch
        with torch.inference_mode():
            try:
                found = self._model(
                    input_ids=torch.from_numpy(input_ids).to(self.device),
                    attention_mask=torch.from_numpy(attention_mask).to(self.device),
                ).logits
                return np.asarray(found.float().cpu().numpy(), dtype=np.float32)
            except torch.cuda.OutOfMemoryError:
                torch.cuda.empty_cache()
                raise EngineOutOfMemory from None


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
