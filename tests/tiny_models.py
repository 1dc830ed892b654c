"""Base models with random weights, small enough to be fitted and merged in a moment."""

from pathlib import Path
from typing import Any

import torch
from tokenizers import Tokenizer, models, pre_tokenizers, processors
from transformers import (
    AutoModel,
    BertConfig,
    DistilBertConfig,
    PreTrainedTokenizerFast,
    RobertaConfig,
)

#: Words of the tokenizer; everything else is unknown to it.
WORDS = [
    "i",
    "you",
    "we",
    "they",
    "feel",
    "am",
    "is",
    "was",
    "a",
    "the",
    "and",
    "so",
    "not",
    "very",
    "happy",
    "glad",
    "sunny",
    "sad",
    "grey",
    "angry",
    "calm",
    "love",
    "hate",
    "fear",
    "joy",
    "day",
    "night",
    "morning",
    "evening",
    "friend",
    "home",
    "rain",
    "sun",
    "text",
    "number",
    "good",
    "bad",
]

SPECIAL = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}


def tiny_base(folder: Path, kind: str = "bert", *, seed: int = 1, spread: float = 0.02) -> Path:
    """Write a base of the architecture `kind` with its own tokenizer; returns `folder`.

    `spread` is the standard deviation of its weights. The usual one says next to nothing of a
    text; with 0.1 LoRA learns a rule by single words in a second.
    """
    vocabulary = [*SPECIAL.values(), *WORDS]
    tokenizer = Tokenizer(
        models.WordLevel({word: i for i, word in enumerate(vocabulary)}, unk_token="[UNK]")
    )
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B [SEP]",
        special_tokens=[(name, vocabulary.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer, model_max_length=64, **SPECIAL)
    torch.manual_seed(seed)
    config = _config(kind, len(vocabulary))
    config.initializer_range = spread
    AutoModel.from_config(config).save_pretrained(folder)
    fast.save_pretrained(folder)
    return folder


def _config(kind: str, words: int) -> Any:
    shape: dict[str, Any] = {"vocab_size": words, "pad_token_id": 0}
    if kind == "distilbert":
        return DistilBertConfig(
            **shape, dim=32, hidden_dim=64, n_layers=2, n_heads=2, max_position_embeddings=64
        )
    layers: dict[str, Any] = {
        **shape,
        "hidden_size": 32,
        "intermediate_size": 64,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "max_position_embeddings": 66,
    }
    if kind == "roberta":
        return RobertaConfig(**layers, bos_token_id=2, eos_token_id=3, type_vocab_size=1)
    return BertConfig(**layers)


def write_rows(folder: Path, labels: tuple[str, ...], rows: int = 48) -> Path:
    """Write a data set whose label is told by one word of the text: train, validation and test."""
    folder.mkdir(parents=True)
    words = WORDS[14 : 14 + len(labels)]
    for split, count in (("train", rows), ("val", rows // 4), ("test", rows // 4)):
        lines = (
            f"i am {words[n % len(labels)]} {WORDS[n % 11]} number {n};{labels[n % len(labels)]}"
            for n in range(count)
        )
        (folder / f"{split}.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder
