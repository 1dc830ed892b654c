"""Fine-tune a classifier with LoRA: data, model, optimiser, loop, evaluation, from top to bottom."""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from db.errors import JobFailed
from training.adapting import adapted_model
from training.batches import bucketed, padded, tokenise
from training.data import LabelledData, Split
from training.epochs import Epoch, chosen_epoch, out_of_patience
from training.fit_config import FitConfig
from training.fit_state import FitStateFile, Progress, captured, restored, same_base
from training.metrics import Metrics, measure
from worker.bases import BaseModelFiles

if TYPE_CHECKING:
    from peft import PeftModel

#: Rows of one forward pass in evaluation; sorted by length, so padding stays small.
EVALUATION_BATCH = 64

#: Longest allowed gradient, the usual guard of fine-tuning against a rare steep batch.
MAX_GRADIENT_NORM = 1.0

#: Seconds between two savings of the state within an epoch; each takes some 20 ms.
SAVE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Fit:
    """A finished fit: the adapted model at its chosen epoch, and how it got there."""

    model: PeftModel
    config: FitConfig
    base: BaseModelFiles
    epochs: tuple[Epoch, ...]
    chosen: Epoch
    target_modules: tuple[str, ...]
    device: str
    #: Of all epochs together, also where the fit was resumed.
    seconds: float


#: Told after each step: epoch, step of all, steps of all, training loss of the step.
StepReport = Callable[[int, int, int, float], None]
EpochReport = Callable[[Epoch], None]


def fit(
    data: LabelledData,
    config: FitConfig,
    on_step: StepReport = lambda *_: None,
    on_epoch: EpochReport = lambda _: None,
    *,
    state: FitStateFile | None = None,
    resume: bool = False,
) -> Fit:
    """Train a LoRA adapter on `data.train` and keep the epoch of best validation macro-F1.

    On a tie the earlier epoch is kept. The same data, config, machine and thread count give the
    same adapter, also when the fit was killed and goes on from `state` with `resume`. Raises
    LabelstreamError when the base cannot be had, UsageError when there is nothing to resume.
    """
    import torch
    from torch.nn.functional import cross_entropy

    from training.averaging import WeightAverage
    from training.dropout import quicken_dropout

    saved = state.load() if state is not None and resume else None
    base = same_base(saved, config.base, config.base_revision)
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
    if device == "cpu":
        quicken_dropout(model)
    model.to(device)
    pad_id = model.config.pad_token_id or 0
    label_weights = balanced_weights(data) if config.class_weights == "balanced" else None
    weight = None if label_weights is None else torch.tensor(label_weights, device=device)

    # Optimiser: AdamW on what LoRA and the head added, rate up a little, then linearly down.
    trained = {name: each for name, each in model.named_parameters() if each.requires_grad}
    optimizer = torch.optim.AdamW(
        list(trained.values()), lr=config.learning_rate, weight_decay=config.weight_decay
    )
    average = WeightAverage(trained, config.average_decay)
    batches_an_epoch = len(_batches(lengths, config, epoch=1))
    steps_an_epoch = math.ceil(batches_an_epoch / config.accumulate)
    steps = config.epochs * steps_an_epoch
    progress = Progress(best={name: each.clone() for name, each in average.average.items()})
    if saved is not None:
        progress = restored(saved, average, optimizer)

    # Loop.
    for number in range(len(progress.epochs) + 1, config.epochs + 1):
        if out_of_patience(progress.epochs, config.patience):
            break
        started = time.monotonic() - progress.seconds
        last_saved = time.monotonic()
        model.train()
        batches = _batches(lengths, config, number)
        for step_in_epoch in range(len(progress.losses), steps_an_epoch):
            first = step_in_epoch * config.accumulate
            together = batches[first : first + config.accumulate]
            loss_of_step = 0.0
            for rows in together:
                input_ids, attention_mask = padded([train_ids[row] for row in rows], pad_id)
                # bf16 pays only on CUDA; on most CPUs it is slower than fp32.
                with torch.autocast(device, torch.bfloat16, enabled=device == "cuda"):
                    logits = model(
                        input_ids=input_ids.to(device), attention_mask=attention_mask.to(device)
                    ).logits
                loss = cross_entropy(
                    logits.float(),
                    train_labels[rows].to(device),
                    weight=weight,
                    label_smoothing=config.label_smoothing,
                ) / len(together)
                loss.backward()  # type: ignore[no-untyped-call]
                loss_of_step += loss.item()
            step = (number - 1) * steps_an_epoch + step_in_epoch + 1
            if not math.isfinite(loss_of_step):
                raise JobFailed(f"the loss is not finite at step {step}: lower --learning-rate")
            torch.nn.utils.clip_grad_norm_(trained.values(), MAX_GRADIENT_NORM)
            for group in optimizer.param_groups:
                group["lr"] = config.learning_rate * rate(step, steps, config.warmup_share)
            optimizer.step()
            optimizer.zero_grad()
            average.update(step)
            progress.losses.append(loss_of_step)
            on_step(number, step, steps, loss_of_step)
            if state is not None and time.monotonic() - last_saved > SAVE_SECONDS:
                progress.seconds = time.monotonic() - started
                state.save(captured(progress, average, optimizer, base))
                last_saved = time.monotonic()

        # Evaluation: validation alone decides which epoch is kept.
        with average.applied():
            validation = evaluate(model, validation_ids, data.validation, data.labels)
        loss_of_epoch = sum(progress.losses) / len(progress.losses)
        epoch = Epoch(number, loss_of_epoch, validation, time.monotonic() - started)
        if chosen_epoch([*progress.epochs, epoch]) is epoch:
            progress.best = {name: each.clone() for name, each in average.average.items()}
        progress.close_epoch(epoch)
        if state is not None:
            state.save(captured(progress, average, optimizer, base))
        on_epoch(epoch)

    # The chosen epoch's weights. The test split is looked at later, and once.
    average.put(progress.best)
    return Fit(
        model=model,
        config=config,
        base=base,
        epochs=tuple(progress.epochs),
        chosen=chosen_epoch(progress.epochs),
        target_modules=target_modules,
        device=device,
        seconds=sum(epoch.seconds for epoch in progress.epochs),
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
    # It would also fill every fresh tensor, against reading one before it is written.
    torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]


def rate(step: int, steps: int, warmup_share: float) -> float:
    """Return the share of the peak rate at `step` (from 1): up a little, then linearly to 0."""
    warmup = max(1, round(warmup_share * steps))
    return min(step / warmup, (steps - step + 1) / max(1, steps - warmup))


def balanced_weights(data: LabelledData) -> list[float]:
    """Return a weight a label, rows / (labels x rows of the label): rare labels count as much."""
    counts = np.bincount(data.train.label_ids, minlength=len(data.labels))
    weights: list[float] = (
        len(data.train.texts) / (len(data.labels) * np.maximum(counts, 1))
    ).tolist()
    return weights


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


def _batches(lengths: Sequence[int], config: FitConfig, epoch: int) -> list[list[int]]:
    # Of a generator of its own each, so that a fit can go on within any epoch.
    return bucketed(lengths, config.batch_size, np.random.default_rng([config.seed, epoch]))
