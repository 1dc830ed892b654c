"""A tiny but real fit: the real base, a few dozen rows, through the command and in Python."""

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import AutoModelForSequenceClassification

from db.errors import UsageError
from training.artifact import check_out
from training.batches import tokenise
from training.data import read_data
from training.fit import evaluate, fit
from training.fit_config import FitConfig
from worker.bases import STARTER_BASE, resolve_base

#: Two labels that a few steps can tell apart, on texts of several lengths.
GOOD = [
    "i",
    "love",
    "this",
    "bright",
    "and",
    "happy",
    "morning",
    "with",
    "all",
    "of",
    "you",
    "my",
    "dear",
    "friends",
]
BAD = [
    "this",
    "is",
    "a",
    "cold",
    "and",
    "miserable",
    "night",
    "full",
    "of",
    "pain",
    "and",
    "i",
    "hate",
    "every",
    "hour",
]
TINY = FitConfig(epochs=1, batch_size=8, max_length=32)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So little work is done soonest by one thread, above all beside others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def write_data(folder: Path) -> Path:
    """36 training rows, 8 for validation, 6 for test, two labels by turns."""
    folder.mkdir()
    at = 0
    for split, rows in (("train", 36), ("val", 8), ("test", 6)):
        lines = []
        for _ in range(rows):
            words, label = ((GOOD, "good"), (BAD, "bad"))[at % 2]
            lines.append(f"{' '.join(words[at % 5 : 6 + at % 9])} {at};{label}\n")
            at += 1
        (folder / f"{split}.txt").write_text("".join(lines))
    return folder


@dataclass(frozen=True)
class Run:
    """A finished command."""

    status: int
    stdout: str
    stderr: str


def training(folder: Path, *arguments: object) -> Run:
    """Run the `training` command with `folder` as its working folder."""
    done = subprocess.run(
        [sys.executable, "-m", "training.cli", *map(str, arguments)],
        cwd=folder,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    return Run(done.returncode, done.stdout, done.stderr)


@dataclass(frozen=True)
class Fitted:
    """A fit by the command: where it ran, what it wrote, what it said."""

    home: Path
    adapter: Path
    said: dict[str, object]
    stderr: str


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Fitted:
    home = tmp_path_factory.mktemp("fit")
    data = write_data(home / "tiny")
    adapter = home / "adapter"
    done = training(
        home, "fit", "--data", data, "--model", "mood", "--epochs", 2, "--batch-size", 8,
        "--max-length", 32, "--labels", "good,bad", "--out", adapter, "--license", "ours",
        "--note", "Written by hand.", "--json",
    )  # fmt: skip
    assert done.status == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    return Fitted(home, adapter, json.loads(done.stdout), done.stderr)


def test_the_command_says_one_json_object_and_its_epochs_on_stderr(fitted: Fitted) -> None:
    said = fitted.said
    assert (said["model"], said["version"], said["split"], said["rows"]) == ("mood", 1, "test", 6)
    assert {"accuracy", "macro_f1", "per_class", "confusion", "epoch", "base"} <= said.keys()
    assert said["license"] == "ours"
    for number in (1, 2):
        assert f"epoch {number}: loss " in fitted.stderr
    assert "Warning" not in fitted.stderr


def test_the_adapter_loads_with_plain_peft_and_knows_its_labels(fitted: Fitted) -> None:
    config = json.loads((fitted.adapter / "config.json").read_text())
    assert config["id2label"] == {"0": "good", "1": "bad"}
    assert config["label2id"] == {"good": 0, "bad": 1}
    named = json.loads((fitted.adapter / "adapter_config.json").read_text())
    assert named["base_model_name_or_path"] == STARTER_BASE
    base = AutoModelForSequenceClassification.from_pretrained(
        resolve_base(STARTER_BASE).path, num_labels=2
    )
    model = PeftModel.from_pretrained(base, str(fitted.adapter)).eval()
    with torch.inference_mode():
        logits = model(input_ids=torch.tensor([[101, 2293, 102]])).logits
    assert logits.shape == (1, 2)
    # The head is the fitted one, not the fresh one that the base was given here.
    fitted_head = load_file(fitted.adapter / "adapter_model.safetensors")
    loaded_head = model.get_parameter("base_model.model.classifier.modules_to_save.default.weight")
    assert torch.equal(loaded_head, fitted_head["base_model.model.classifier.weight"])


def test_metadata_card_and_json_tell_the_same(fitted: Fitted) -> None:
    described = json.loads((fitted.adapter / "labelstream.json").read_text())
    assert described["labels"] == ["good", "bad"]
    assert described["data"]["rows"] == {"train": 36, "validation": 8, "test": 6}
    assert described["data"]["notes"] == ["Written by hand."]
    assert described["metrics"]["test"]["accuracy"] == fitted.said["accuracy"]
    assert described["metrics"]["test"]["confusion"] == fitted.said["confusion"]
    assert described["epoch"] == fitted.said["epoch"]
    card = (fitted.adapter / "README.md").read_text()
    assert f"6 rows: accuracy {fitted.said['accuracy']:.4f}" in card
    assert "**Terms: ours.**" in card


def test_the_result_is_registered_and_listed_beside_the_starter(fitted: Fitted) -> None:
    done = training(fitted.home, "versions", "--json")
    listed = {record["model"]: record for record in json.loads(done.stdout)}
    assert listed.keys() == {"emotion", "mood"}
    assert listed["mood"]["version"] == 1
    assert listed["mood"]["aliases"] == ["production"]
    assert listed["mood"]["accuracy"] == fitted.said["accuracy"]
    assert listed["emotion"]["license"].startswith("educational and research use only")
    shown = training(fitted.home, "show", "mood:1").stdout
    assert shown.startswith("mood:1 (ready)\naliases: production\n")
    assert "labels: good, bad" in shown
    detail = json.loads(training(fitted.home, "show", "mood@production", "--json").stdout)
    assert detail["labels"] == ["good", "bad"]
    # The registry's own copy of the adapter is the one that was written.
    for name, digest in detail["adapter_sha256"].items():
        assert hashlib.sha256((fitted.adapter / name).read_bytes()).hexdigest() == digest


def test_the_same_seed_gives_the_same_adapter_and_another_seed_another(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))

    def weights(seed: int) -> dict[str, torch.Tensor]:
        model = fit(data, replace(TINY, seed=seed)).model
        return {n: p.detach() for n, p in model.named_parameters() if p.requires_grad}

    first, again, other = weights(1), weights(1), weights(2)
    assert first.keys() == again.keys()
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_the_kept_weights_are_those_of_the_best_validation_epoch(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    result = fit(data, replace(TINY, epochs=3, learning_rate=5e-3))
    best = max(epoch.validation.macro_f1 for epoch in result.epochs)
    assert result.chosen.validation.macro_f1 == best
    assert result.chosen is next(e for e in result.epochs if e.validation.macro_f1 == best)
    ids = tokenise(result.base.path / "tokenizer.json", data.validation.texts, 32)
    assert evaluate(result.model, ids, data.validation, data.labels) == result.chosen.validation


def errors_of(done: Run) -> Sequence[str]:
    return [line for line in done.stderr.splitlines() if line.startswith("error: ")]


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        (["fit", "--data", "absent.csv"], 2, "absent.csv does not exist: check --data"),
        (["fit", "--data", "tiny", "--no-register"], 2, "--no-register needs --out DIR"),
        (["fit", "--data", "tiny", "--out", "tiny"], 2, "tiny exists and is not empty"),
        (["fit", "--data", "tiny", "--base", "./none"], 2, "./none does not exist: check --base"),
        (["fit", "--data", "tiny", "--model", "a b"], 2, "cannot be the name of a model"),
        (["fit", "--data", "tiny", "--labels", "good,,bad"], 2, "has an empty name"),
        (["fit", "--data", "tiny", "--max-length", "600"], 2, "reads at most 512 tokens"),
        (["fit", "--data", "tiny", "--learning-rate", "1e12"], 1, "the loss is not finite"),
        (["versions", "nobody"], 2, "there is no model nobody"),
        (["show", "emotion:7"], 2, "there is no model emotion:7"),
    ],
)
def test_what_cannot_be_done_is_one_line_and_the_right_status(
    arguments: list[str], status: int, message: str, tmp_path: Path
) -> None:
    write_data(tmp_path / "tiny")
    done = training(tmp_path, *arguments)
    assert (done.status, done.stdout) == (status, "")
    assert "Traceback" not in done.stderr
    assert len(errors_of(done)) == 1
    assert message in errors_of(done)[0]


def test_a_folder_to_write_to_must_be_new_or_empty(tmp_path: Path) -> None:
    check_out(tmp_path / "new")
    check_out(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="not empty: give another --out"):
        check_out(tmp_path)


def test_help_needs_no_torch() -> None:
    code = (
        "import sys\nsys.argv = ['training', 'fit', '--help']\n"
        "from training.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    print('status', end.code)\n"
        "heavy = {'torch', 'transformers', 'peft', 'datasets', 'pandas', 'numpy', 'sqlalchemy'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert "--lora-dropout" in done.stdout
    assert done.stdout.splitlines()[-2:] == ["status 0", "[]"]
