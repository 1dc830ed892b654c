"""The torch engine: the logits of plain transformers, and refusals in one line."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from db.errors import RegistryError, UsageError, one_line
from worker.classifier import Classifier
from worker.engines.torch_engine import TorchEngine

TEXTS = [f"i feel {word} about the day number {n}" for n in range(20) for word in ("good", "sick")]
LONG = "and then i was so happy that " * 40


def transformers_logits(folder: Path, texts: list[str]) -> npt.NDArray[np.float32]:
    """Compute logits by transformers alone, one text at a time."""
    import torch
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    model = AutoModelForSequenceClassification.from_pretrained(folder, local_files_only=True).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    rows = []
    with torch.inference_mode():
        for text in texts:
            encoded = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
            rows.append(model(**encoded).logits.numpy()[0])
    return np.array(rows, dtype=np.float32)


def test_the_logits_are_those_of_plain_transformers(classifier: Classifier, merged: Path) -> None:
    texts = [*TEXTS, LONG, "😀", "naïve 漢字"]
    ours = classifier.logits(texts)
    assert ours.dtype == np.float32
    assert np.abs(ours - transformers_logits(merged, texts)).max() < 1e-4


def test_loading_leaves_the_hub_open_to_the_child_that_merges_the_next_version(
    merged: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    TorchEngine(merged, 128, "cpu")
    assert "HF_HUB_OFFLINE" not in os.environ


def test_the_packing_changes_no_label(classifier: Classifier) -> None:
    texts = [*TEXTS, LONG]
    order = np.random.default_rng(5).permutation(len(texts))
    straight = classifier.logits(texts)
    mixed = classifier.logits([texts[index] for index in order])
    assert np.abs(mixed - straight[order]).max() < 1e-4
    assert mixed.argmax(axis=1).tolist() == straight[order].argmax(axis=1).tolist()


def test_a_gpu_that_is_not_there_is_refused_with_the_fix(merged: Path) -> None:
    import torch

    number = torch.cuda.device_count()
    with pytest.raises(UsageError, match=rf"device cuda:{number} is not there; set LABELSTREAM_"):
        TorchEngine(merged, 128, f"cuda:{number}")


@pytest.mark.parametrize("device", ["tpu", "cuda:", "cuda:x", "cuda:-1"])
def test_a_device_that_is_none_is_refused(merged: Path, device: str) -> None:
    with pytest.raises(UsageError, match="is none of auto, cpu, cuda, cuda:N"):
        TorchEngine(merged, 128, device)


def copy_without(merged: Path, folder: Path, *names: str) -> Path:
    shutil.copytree(merged, folder, ignore=shutil.ignore_patterns(*names))
    return folder


def refusal(folder: Path) -> str:
    with pytest.raises(RegistryError) as refused:
        TorchEngine(folder, 128, "cpu")
    return one_line(refused.value)


def test_a_model_without_its_head_is_refused(merged: Path, tmp_path: Path) -> None:
    from safetensors.numpy import load_file, save_file

    folder = copy_without(merged, tmp_path / "headless", "model.safetensors")
    weights = load_file(merged / "model.safetensors")
    kept = {name: each for name, each in weights.items() if not name.startswith("classifier")}
    save_file(kept, folder / "model.safetensors", metadata={"format": "pt"})
    assert "has no weights for classifier.bias (2 missing)" in refusal(folder)


def test_a_truncated_model_is_refused_in_one_line(merged: Path, tmp_path: Path) -> None:
    folder = copy_without(merged, tmp_path / "short", "model.safetensors")
    (folder / "model.safetensors").write_bytes((merged / "model.safetensors").read_bytes()[:9999])
    assert "cannot be loaded" in refusal(folder)


def test_a_pickle_is_never_read(merged: Path, tmp_path: Path) -> None:
    folder = copy_without(merged, tmp_path / "pickle", "model.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"cos\nsystem\n(S'touch pwned'\ntR.")
    assert "cannot be loaded" in refusal(folder)
    assert not Path("pwned").exists()


def test_code_that_comes_with_a_model_is_never_run(merged: Path, tmp_path: Path) -> None:
    folder = copy_without(merged, tmp_path / "code")
    config: dict[str, Any] = json.loads((folder / "config.json").read_text())
    config["model_type"] = "ours"
    config["auto_map"] = {
        "AutoConfig": "evil.Config",
        "AutoModelForSequenceClassification": "evil.M",
    }
    (folder / "config.json").write_text(json.dumps(config))
    (folder / "evil.py").write_text(f"open({str(tmp_path / 'pwned')!r}, 'w')")
    assert "cannot be loaded" in refusal(folder)
    assert not (tmp_path / "pwned").exists()
