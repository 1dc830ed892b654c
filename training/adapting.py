"""The model that is trained: a base with a fresh head under LoRA."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from db.errors import LabelstreamError, UsageError
from training.fit_config import FitConfig
from worker.bases import BaseModelFiles
from worker.engines.torch_model import LOGITS_ALONE

if TYPE_CHECKING:
    from peft import PeftModel

#: Linear layers that LoRA adapts, by `model_type`; for others PEFT's "all-linear": the attention
#: projections and both layers of the feed-forward block (and BERT's pooler, a "dense" too).
TARGET_MODULES: dict[str, tuple[str, ...]] = {
    "bert": ("query", "key", "value", "dense"),
    "roberta": ("query", "key", "value", "dense"),
    "xlm-roberta": ("query", "key", "value", "dense"),
    "electra": ("query", "key", "value", "dense"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
}


def adapted_model(
    base: BaseModelFiles, labels: Sequence[str], config: FitConfig
) -> tuple[PeftModel, tuple[str, ...]]:
    """Return the base with a fresh head under LoRA, and the names of the adapted layers.

    Raises LabelstreamError for a base that cannot be loaded as a text classifier, UsageError for
    options that do not fit it.
    """
    import torch
    from peft import LoraConfig, TaskType, get_peft_model
    from transformers import AutoModelForSequenceClassification
    from transformers.utils import logging

    # "Some weights were newly initialized" is the purpose here.
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        model = AutoModelForSequenceClassification.from_pretrained(
            base.path,
            id2label=dict(enumerate(labels)),
            label2id={label: i for i, label in enumerate(labels)},
            use_safetensors=True,
            local_files_only=True,
            trust_remote_code=False,
            # A base whose weights have 16 bits would be computed with in 16, where losses overflow.
            dtype=torch.float32,
            **LOGITS_ALONE,
        )
    except Exception as error:  # noqa: BLE001
        # A damaged or foreign folder fails in many ways: one line for all.
        raise LabelstreamError(
            f"base model {base.name} cannot be loaded as a text classifier "
            f"({type(error).__name__}): choose an encoder that transformers knows"
        ) from None
    longest = longest_input(model.config)
    if longest is not None and config.max_length > longest:
        raise UsageError(
            f"base model {base.name} reads at most {longest} tokens, not {config.max_length}: "
            "lower --max-length"
        )
    # PEFT records this as the base; the files lie elsewhere on each machine, so no path.
    model.name_or_path = base.name
    targets = config.target_modules or TARGET_MODULES.get(model.config.model_type, ())
    if config.target_modules and (missing := _unknown_modules(model, config.target_modules)):
        raise UsageError(
            f"base model {base.name} has no layer called {missing[0]}: its layers are "
            f"{', '.join(_linear_names(model))}"
        )
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        use_rslora=config.rslora,
        use_dora=config.dora,
        target_modules=list(targets) or "all-linear",
        base_model_name_or_path=base.name,
        revision=base.revision,
    )
    with warnings.catch_warnings():
        # PEFT still asks transformers by a deprecated name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, lora)
    return adapted, tuple(targets) or ("all-linear",)


def _unknown_modules(model: Any, names: Sequence[str]) -> list[str]:
    known = {name.rsplit(".", 1)[-1] for name, _ in model.named_modules()}
    return [name for name in names if name.rsplit(".", 1)[-1] not in known]


def _linear_names(model: Any) -> list[str]:
    from torch import nn

    found = (name for name, each in model.named_modules() if isinstance(each, nn.Linear))
    return sorted({name.rsplit(".", 1)[-1] for name in found})


def longest_input(config: Any) -> int | None:
    """Return the most tokens that the position embeddings allow; None where there are none."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in ("roberta", "xlm-roberta"):
        # Their positions are counted from the padding id on.
        positions -= int(config.pad_token_id) + 1
    return positions
