"""A base whose weights are saved with 16 bits is fitted, merged and served with 32."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from transformers import AutoModel, AutoTokenizer

from tests.foreign_models import peft_logits, plain_base, some_texts
from tests.tiny_models import write_rows
from tests.training.conftest import merge
from tests.training.moods import said, settings_of
from worker import Classifier


@pytest.mark.parametrize("bits", [torch.float16, torch.bfloat16], ids=["fp16", "bf16"])
def test_a_base_of_16_bits_is_fitted_and_serves(bits: torch.dtype, tmp_path: Path) -> None:
    base = plain_base(tmp_path / "base", "roberta")
    AutoModel.from_pretrained(base).to(bits).save_pretrained(base)
    assert {each.dtype for each in load_file(base / "model.safetensors").values()} == {bits}
    AutoTokenizer.from_pretrained(base).save_pretrained(base)
    said(
        tmp_path / "home", "fit", "--data", write_rows(tmp_path / "rows", ("bad", "good")),
        "--model", "mood", "--base", base, "--epochs", 2, "--batch-size", 16, "--max-length", 32,
        "--out", tmp_path / "adapter",
    )  # fmt: skip
    described = json.loads((tmp_path / "adapter" / "labelstream.json").read_text())
    assert all(epoch["loss"] < 10 for epoch in described["epochs"])
    weights = load_file(tmp_path / "adapter" / "adapter_model.safetensors").values()
    assert {each.dtype for each in weights} == {torch.float32}
    merge(tmp_path / "home", "mood:1")
    texts = some_texts(50)
    with Classifier.load("mood:1", settings=settings_of(tmp_path / "home")) as classifier:
        logits = torch.from_numpy(classifier.logits(texts))
    expected = peft_logits(tmp_path / "adapter", base, texts, labels=2)
    assert (logits - expected).abs().max().item() < 1e-4
