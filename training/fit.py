"""Fine-tune a classifier with LoRA: data, model, optimiser, loop, evaluation, from top to bottom."""

from __future__ import annotations

import os
import random
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from db.errors import JobFailed, LabelstreamError, UsageError
from training.batches import bucketed, padded, tokenise
from training.data import LabelledData, Split
from training.fit_config import FitConfig
from training.metrics import Metrics, measure
from worker.bases import BaseModelFiles, resolve_base

if TYPE_CHECKING:
    from peft import PeftModel
    from torch import Tensor

#: Linear layers that LoRA adapts, by `model_type`; for others PEFT's "all-linear": the attention
#: projections and both layers of the feed-forward block (and BERT's pooler, a "dense" too).
TARGET_MODULES: dict[str, tuple[str, ...]] = {
    "bert": ("query", "key", "value", "dense"),
    "roberta": ("query", "key", "value", "dense"),
    "xlm-roberta": ("query", "key", "value", "dense"),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
}

#: Rows of one forward pass in evaluation; sorted by length, so padding stays small.
EVALUATION_BATCH = 64

#: Longest allowed gradient, the usual guard of fine-tuning against a rare steep batch.
MAX_GRADIENT_NORM = 1.0


@dataclass(frozen=True, slots=True)
class Epoch:
    """One epoch (from 1): mean training loss, validation metrics, seconds with evaluation."""

    number: int
    loss: float
    validation: Metrics
    seconds: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished fit: the adapted model at its chosen epoch, and how it got there.

    `test` was measured once, after the choice; None if the data has no test split.
    """

    model: PeftModel
    config: FitConfig
    base: BaseModelFiles
    epochs: tuple[Epoch, ...]
    chosen: Epoch
    test: Metrics | None
    target_modules: tuple[str, ...]
    device: str
    seconds: float


#: Told after each step: epoch, step of all, steps of all, training loss of the step.
StepReport = Callable[[int, int, int, float], None]
EpochReport = Callable[[Epoch], None]


def fit(
    data: LabelledData,
    config: FitConfig,
    on_step: StepReport = lambda *_: None,
    on_epoch: EpochReport = lambda _: None,
) -> Fit:
    """Train a LoRA adapter on `data.train` and keep the epoch of best validation macro-F1.

    On a tie the earlier epoch is kept. The same data, config, machine and thread count give the
    same adapter. Raises LabelstreamError when the base cannot be had.
    """
    import torch
    from torch.nn.functional import cross_entropy

    started = time.monotonic()
    base = resolve_base(config.base, config.base_revision)
    make_deterministic(config.seed)
    device = "cuda" if torch.cuda.is_available() else "cpu"

    # Data: every text is tokenised once.
    tokenizer_file = base.path / "tokenizer.json"
    train_ids = tokenise(tokenizer_file, data.train.texts, config.max_length)
    validation_ids = tokenise(tokenizer_file, data.validation.texts, config.max_length)
    train_labels = torch.tensor(data.train.label_ids)
    lengths = [len(ids) for ids in train_ids]

    # Model: the base with a fresh head, LoRA around its linear layers.
    model, target_modules = adapted_model(base, data.labels, config)
    model.to(device)
    pad_id = model.config.pad_token_id or 0

    # Optimiser: AdamW on what LoRA and the head added, rate up a little, then linearly down.
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.AdamW(
        trained, lr=config.learning_rate, weight_decay=config.weight_decay
    )
    steps = config.epochs * len(bucketed(lengths, config.batch_size, np.random.default_rng(0)))
    warmup = max(1, round(config.warmup_share * steps))
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer,
        lambda step: min((step + 1) / warmup, (steps - step) / max(1, steps - warmup)),
    )

    # Loop.
    shuffle = np.random.default_rng(config.seed)
    epochs: list[Epoch] = []
    best: dict[str, Tensor] = {}
    chosen: Epoch | None = None
    step = 0
    for number in range(1, config.epochs + 1):
        epoch_started = time.monotonic()
        model.train()
        losses = []
        for rows in bucketed(lengths, config.batch_size, shuffle):
            input_ids, attention_mask = padded([train_ids[row] for row in rows], pad_id)
            # bf16 pays only on CUDA; on most CPUs it is slower than fp32.
            with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                logits = model(
                    input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)
                ).logits
            loss = cross_entropy(logits.float(), train_labels[rows].to(device))
            if not torch.isfinite(loss):
                raise JobFailed(
                    f"the loss is not finite at step {step + 1}: try a lower --learning-rate"
                )
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(trained, MAX_GRADIENT_NORM)
            optimizer.step()
            schedule.step()
            optimizer.zero_grad()
            losses.append(loss.item())
            step += 1
            on_step(number, step, steps, losses[-1])

        # Evaluation: validation alone decides which epoch is kept.
        validation = evaluate(model, validation_ids, data.validation, data.labels)
        seconds = time.monotonic() - epoch_started
        epoch = Epoch(number, sum(losses) / len(losses), validation, seconds)
        epochs.append(epoch)
        on_epoch(epoch)
        if chosen is None or validation.macro_f1 > chosen.validation.macro_f1:
            chosen = epoch
            best = {
                name: parameter.detach().clone()
                for name, parameter in model.named_parameters()
                if parameter.requires_grad
            }
    if chosen is None:
        raise ValueError(f"epochs must be at least 1, not {config.epochs}")

    # The chosen epoch's weights, and the one look at the test split.
    model.load_state_dict(best, strict=False)
    test = None
    if data.test is not None:
        test_ids = tokenise(tokenizer_file, data.test.texts, config.max_length)
        test = evaluate(model, test_ids, data.test, data.labels)
    return Fit(
        model=model,
        config=config,
        base=base,
        epochs=tuple(epochs),
        chosen=chosen,
        test=test,
        target_modules=target_modules,
        device=device,
        seconds=time.monotonic() - started,
    )


def make_deterministic(seed: int) -> None:
    """Seed Python, NumPy and torch, and ask torch for algorithms that repeat where it has them."""
    import torch

    # cuBLAS repeats its sums only with a workspace of fixed size, read when CUDA starts.
    os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)
    torch.use_deterministic_algorithms(True, warn_only=True)


def adapted_model(
    base: BaseModelFiles, labels: Sequence[str], config: FitConfig
) -> tuple[PeftModel, tuple[str, ...]]:
    """Return the base with a fresh head under LoRA, and the names of the adapted layers."""
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
        )
    except Exception as error:  # noqa: BLE001
        # A damaged or foreign folder fails in many ways: one line for all.
        raise LabelstreamError(
            f"base model {base.name} cannot be loaded as a text classifier "
            f"({type(error).__name__}): choose an encoder that transformers knows"
        ) from None
    longest = _longest_input(model.config)
    if longest is not None and config.max_length > longest:
        raise UsageError(
            f"base model {base.name} reads at most {longest} tokens, not {config.max_length}: "
            "lower --max-length"
        )
    # PEFT records this as the base; the files lie elsewhere on each machine, so no path.
    model.name_or_path = base.name
    targets = TARGET_MODULES.get(model.config.model_type, ())
    lora = LoraConfig(
        task_type=TaskType.SEQ_CLS,
        r=config.lora_r,
        lora_alpha=config.lora_alpha,
        lora_dropout=config.lora_dropout,
        target_modules=list(targets) or "all-linear",
        base_model_name_or_path=base.name,
        revision=base.revision,
    )
    with warnings.catch_warnings():
        # PEFT still asks transformers by a deprecated name.
        warnings.simplefilter("ignore", FutureWarning)
        adapted = get_peft_model(model, lora)
    return adapted, targets or ("all-linear",)


def _longest_input(config: Any) -> int | None:
    """Return the most tokens that the position embeddings allow; None where there are none."""
    positions: int | None = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in ("roberta", "xlm-roberta"):
        # Their positions are counted from the padding id on.
        positions -= int(config.pad_token_id) + 1
    return positions


def evaluate(
    model: PeftModel, token_ids: Sequence[Sequence[int]], split: Split, labels: Sequence[str]
) -> Metrics:
    """Measure the model in fp32 on a split whose texts are tokenised, in batches by length."""
    import torch

    device = next(model.parameters()).device
    pad_id = model.config.pad_token_id or 0
    model.eval()
    predicted = [0] * len(token_ids)
    by_length = sorted(range(len(token_ids)), key=lambda row: len(token_ids[row]))
    with torch.inference_mode():
        for start in range(0, len(by_length), EVALUATION_BATCH):
            rows = by_length[start : start + EVALUATION_BATCH]
            input_ids, attention_mask = padded([token_ids[row] for row in rows], pad_id)
            logits = model(
                input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)
            ).logits
            for row, label_id in zip(rows, logits.argmax(dim=-1).tolist(), strict=True):
                predicted[row] = label_id
    return measure(split.label_ids, predicted, labels)
