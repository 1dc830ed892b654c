"""The numbers of the training recipe, and where each comes from."""

from dataclasses import dataclass

from worker.bases import STARTER_BASE


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Every number of the recipe; the defaults are those of the starter model."""

    base: str = STARTER_BASE
    base_revision: str | None = None
    #: LoRA's rank, its scale (alpha / r multiplies the update), its dropout (Hu et al., 2021).
    lora_r: int = 8
    lora_alpha: int = 16
    lora_dropout: float = 0.1
    #: AdamW's peak rate; LoRA bears far more than full fine-tuning's usual 2e-5 to 5e-5.
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    #: Share of all steps in which the rate rises from 0; then it falls linearly to 0.
    warmup_share: float = 0.03
    batch_size: int = 32
    epochs: int = 4
    #: Token ids a text is cut to.
    max_length: int = 128
    seed: int = 42
