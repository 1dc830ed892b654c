"""A merged model under torch, read from its folder with nothing but its own files."""

import os
from pathlib import Path
from typing import Any

from db.errors import RegistryError

#: What a config.json may ask for beside the logits, or instead of a result that names them.
LOGITS_ALONE = {"output_hidden_states": False, "output_attentions": False, "return_dict": True}


def load_model(folder: Path) -> Any:
    """Return the classifier in `folder` in fp32, on the CPU.

    `folder` holds model.safetensors and config.json. Raises `RegistryError` for a model that cannot be
    read, that lacks weights, or whose weights have another shape than its config.json says.
    """
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
    try:
        model, report = AutoModelForSequenceClassification.from_pretrained(
            folder,
            local_files_only=True,
            use_safetensors=True,
            trust_remote_code=False,
            output_loading_info=True,
            # Told below, by name: its own error points to a table on stderr.
            ignore_mismatched_sizes=True,
            dtype=torch.float32,
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
    return model.eval()
