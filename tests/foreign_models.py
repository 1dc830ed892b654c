"""Models as others make them: tiny, of random weights, saved by transformers and peft alone."""

import contextlib
import random
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from peft import LoraConfig, PeftModel, TaskType, get_peft_model
from tokenizers import ByteLevelBPETokenizer
from tokenizers.processors import RobertaProcessing
from transformers import (
    AutoConfig,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    RobertaConfig,
    RobertaModel,
    RobertaTokenizerFast,
    pipeline,
)

from tests.tiny_models import WORDS, tiny_base

#: Standard deviation of the weights: enough that texts of other words get other labels.
SPREAD = 0.3


def plain_classifier(
    folder: Path,
    kind: str = "bert",
    labels: Sequence[str] = ("calm", "cross", "glad"),
    seed: int = 1,
    shape: Mapping[str, int] | None = None,
) -> Path:
    """Write a fine-tuned classifier with its own tokenizer; returns `folder`.

    `shape` is what its config.json is to say otherwise, such as hidden_size.
    """
    tiny_base(folder, kind)
    config = AutoConfig.from_pretrained(
        folder,
        id2label=dict(enumerate(labels)),
        label2id={label: i for i, label in enumerate(labels)},
        initializer_range=SPREAD,
        **(shape or {}),
    )
    torch.manual_seed(seed)
    AutoModelForSequenceClassification.from_config(config).save_pretrained(folder)
    return folder


def plain_base(folder: Path, kind: str = "bert", *, seed: int = 1) -> Path:
    """Write a base whose weights say something of a text; returns `folder`."""
    return tiny_base(folder, kind, seed=seed, spread=SPREAD)


def roberta_base(folder: Path, texts: Sequence[str], *, seed: int = 1) -> Path:
    """Write a RoBERTa of random weights with a byte-level BPE learnt from `texts`; return `folder`.

    As the real one it fills with id 1 and counts its positions from there on: it reads 64 tokens.
    """
    tokenizer = ByteLevelBPETokenizer()
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    tokenizer.train_from_iterator(
        texts, vocab_size=600, min_frequency=1, special_tokens=special, show_progress=False
    )
    tokenizer.post_processor = RobertaProcessing(("</s>", 2), ("<s>", 0))
    RobertaTokenizerFast(
        tokenizer_object=tokenizer._tokenizer, model_max_length=64
    ).save_pretrained(folder)
    torch.manual_seed(seed)
    config = RobertaConfig(
        vocab_size=tokenizer.get_vocab_size(), hidden_size=32, intermediate_size=64,
        num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=66, type_vocab_size=1,
        initializer_range=SPREAD,
    )  # fmt: skip
    RobertaModel(config).save_pretrained(folder)
    return folder


def plain_adapter(folder: Path, base: Path | str, labels: int = 3, seed: int = 2) -> Path:
    """Write a LoRA adapter of a classifier on `base`, as peft alone saves one; returns `folder`."""
    torch.manual_seed(seed)
    bare = AutoModelForSequenceClassification.from_pretrained(base, num_labels=labels)
    with _quiet():
        adapted = get_peft_model(bare, LoraConfig(task_type=TaskType.SEQ_CLS, r=4))
    with torch.no_grad():
        for weight in adapted.parameters():
            # What is not fitted is zero, so that a fresh adapter changes nothing.
            if weight.requires_grad:
                weight.normal_(0, SPREAD)
    adapted.save_pretrained(str(folder))
    return folder


def some_texts(count: int, seed: int = 1) -> list[str]:
    """Return texts of 1 to 12 words that the tokenizers of `tiny_base` know, or nearly all."""
    pick = random.Random(seed)
    words = [*WORDS, "zebra"]
    return [" ".join(pick.choices(words, k=pick.randint(1, 12))) for _ in range(count)]


def pipeline_labels(folder: Path, texts: Sequence[str]) -> list[str]:
    """Return what a plain `transformers.pipeline` of the model in `folder` says of `texts`."""
    plain: Any = pipeline("text-classification", model=str(folder), device="cpu")
    return [each["label"] for each in plain(list(texts), truncation=True, batch_size=20)]


def peft_logits(adapter: Path, base: Path, texts: Sequence[str], labels: int = 3) -> torch.Tensor:
    """Return what plain peft computes with 32 bits, float32 [texts, labels]."""
    bare: Any = AutoModelForSequenceClassification.from_pretrained(
        base, num_labels=labels, dtype=torch.float32
    )
    with _quiet():
        adapted = PeftModel.from_pretrained(bare, str(adapter)).eval()
    batch = AutoTokenizer.from_pretrained(base)(
        list(texts), padding=True, truncation=True, return_tensors="pt"
    )
    with torch.inference_mode():
        found: torch.Tensor = adapted(
            input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]
        ).logits
    return found


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    with warnings.catch_warnings():
        # PEFT still asks transformers by a deprecated name.
        warnings.simplefilter("ignore", FutureWarning)
        yield
