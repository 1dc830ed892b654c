"""The numbers of the training recipe, and where each comes from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal

from worker.bases import STARTER_BASE

#: What of a recipe stands in labelstream.json beside the hyper-parameters, and not among them.
RECORDED_ABOVE = ("base", "base_revision", "max_length", "seed")

#: How much a label's rows count: all alike, or in inverse proportion to how many there are.
ClassWeights = Literal["none", "balanced"]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Every number of the recipe; the defaults did best on validation (docs/quality.md)."""

    base: str = STARTER_BASE
    base_revision: str | None = None
    #: LoRA's rank, its scale (alpha / r multiplies the update), its dropout (Hu et al., 2021).
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.1
    #: Scale by alpha / sqrt(r) instead (Kalajdzievski, 2023).
    rslora: bool = False
    #: Train the length of each weight's columns apart from their direction (Liu et al., 2024).
    dora: bool = False
    #: Layers that LoRA adapts; empty: those that `training.adapting` knows for the architecture.
    target_modules: tuple[str, ...] = ()
    #: AdamW's peak rate; LoRA bears far more than full fine-tuning's usual 2e-5 to 5e-5.
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    #: Share of all steps in which the rate rises from 0; then it falls linearly to 0.
    warmup_share: float = 0.03
    batch_size: int = 32
    #: Batches whose gradients are summed up before a step.
    accumulate: int = 1
    epochs: int = 7
    #: Epochs without a better validation macro-F1 after which the fit ends; 0: never.
    patience: int = 0
    #: Share of the truth that is spread over all labels (Szegedy et al., 2016).
    label_smoothing: float = 0.1
    class_weights: ClassWeights = "none"
    #: Decay of the running average of the weights, which is what is kept; 0: the weights.
    average_decay: float = 0.999
    #: Token ids a text is cut to.
    max_length: int = 128
    seed: int = 42


def recorded_config(described: Mapping[str, Any]) -> FitConfig:
    """Return the recipe that the content of a labelstream.json tells of.

    What it does not tell, as of a model that was made elsewhere, is as usual.
    """
    # Beside these it has `epochs` too, which is how each of them went.
    above = {name: described[name] for name in RECORDED_ABOVE if name in described}
    told: dict[str, Any] = {**described.get("hyper_parameters", {}), **above}
    known = {each.name: told[each.name] for each in fields(FitConfig) if each.name in told}
    modules = tuple(known.get("target_modules", ()))
    # PEFT's word for all of them is no layer's name.
    known["target_modules"] = () if modules == ("all-linear",) else modules
    return FitConfig(**known)
