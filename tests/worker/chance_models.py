"""Classifiers of random weights of many architectures, and rows of ids for them."""

from typing import Any

import numpy as np
import torch
from transformers import AutoConfig, AutoModelForSequenceClassification

from worker.engines.protocol import Ids

#: What most architectures have in common, for a model of a moment.
SHAPE = {
    "vocab_size": 100,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 70,
    "initializer_range": 0.3,
    "num_labels": 3,
}

#: What others call the same, or have beside it.
OWN: dict[str, dict[str, int]] = {
    "distilbert": {"dim": 32, "hidden_dim": 64, "n_layers": 2, "n_heads": 2},
    "modernbert": {
        f"{name}_token_id": place for place, name in enumerate(("pad", "bos", "eos", "cls", "sep"))
    },
    "bart": {
        "d_model": 32,
        "encoder_layers": 1,
        "decoder_layers": 1,
        "encoder_attention_heads": 2,
        "decoder_attention_heads": 2,
        "encoder_ffn_dim": 32,
        "decoder_ffn_dim": 32,
    },
}


def made(kind: str, **shape: object) -> Any:
    """Make a classifier whose logits depend on every word."""
    torch.manual_seed(3)
    config = AutoConfig.for_model(kind, **{**SHAPE, **OWN.get(kind, {}), **shape})
    return AutoModelForSequenceClassification.from_config(config).eval()


def rows_of(lengths: list[int], padding: int = 0, seed: int = 5) -> tuple[Ids, Ids]:
    """Return rows of such lengths and their mask, int64 [rows, longest]."""
    chance = np.random.default_rng(seed)
    mask = (np.arange(max(lengths)) < np.array(lengths)[:, np.newaxis]).astype(np.int64)
    # 5 and more: no architecture's padding.
    return np.where(mask == 1, chance.integers(5, 40, mask.shape), padding), mask
