"""`training register`: models made without our code come in, are promoted, measured, and serve."""

import json
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForSequenceClassification,
    AutoTokenizer,
)

from db.registry.artifacts import artifact_store
from db.registry.events import list_events
from db.registry.names import parse_ref
from db.registry.versions import list_versions, resolve
from db.store import Store, open_store
from tests.foreign_models import (
    peft_logits,
    pipeline_labels,
    plain_adapter,
    plain_base,
    plain_classifier,
    some_texts,
)
from tests.pipeline.test_embedded_ingest import run
from tests.training.conftest import merge
from tests.training.moods import said, settings_of
from worker import Classifier
from worker.bases import file_sha256

LABELS = ("calm", "cross", "glad")
TEXTS = some_texts(200)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    """So little work is done soonest by one thread, above all beside others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Classifiers `bert` and `roberta`, and an adapter with its base; never to be changed."""
    folder = tmp_path_factory.mktemp("models")
    plain_classifier(folder / "bert", "bert", LABELS, seed=1)
    plain_classifier(folder / "roberta", "roberta", LABELS, seed=5)
    plain_adapter(folder / "adapter", plain_base(folder / "base"))
    return folder


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home that the tests of this file share, each with a model name of its own."""
    return tmp_path_factory.mktemp("register") / ".labelstream"


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(settings_of(home))
    yield store
    store.close()


def labels_of(home: Path, model: str, texts: list[str] = TEXTS) -> list[str]:
    with Classifier.load(model, settings=settings_of(home)) as classifier:
        return [each["label"] for each in classifier(texts)]


def test_plain_models_come_in_are_promoted_and_serve(
    models: Path, home: Path, tmp_path: Path
) -> None:
    first = said(home, "register", models / "bert", "--model", "plain", "--license", "theirs")
    assert first == (
        f"plain:1, production: labels calm, cross, glad; base {models / 'bert'}; terms: theirs\n"
    )
    second = json.loads(
        said(home, "register", models / "roberta", "--model", "plain", "--language", "la", "--json")
    )
    assert second == {
        "model": "plain",
        "version": 2,
        "aliases": [],
        "base": str(models / "roberta"),
        "base_revision": None,
        "labels": ["calm", "cross", "glad"],
        # 66 places, of which RoBERTa's begin after the padding id 0; the tokenizer says 64.
        "max_length": 64,
        "license": None,
    }
    said(home, "promote", "plain:2")
    expected = {kind: pipeline_labels(models / kind, TEXTS) for kind in ("bert", "roberta")}
    assert expected["bert"] != expected["roberta"]
    assert all(len(set(labels)) > 1 for labels in expected.values())
    assert labels_of(home, "plain:1") == expected["bert"]
    assert labels_of(home, "plain@production") == expected["roberta"]

    # And the worker of an embedded ingest serves what was promoted.
    rows = tmp_path / "rows.csv"
    rows.write_text("text\n" + "".join(f"{text}\n" for text in TEXTS))
    done = run(home.parent, "ingest", rows, "--model", "plain", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model_versions"] == {"2": len(TEXTS)}
    with sqlite3.connect(home / "labelstream.db") as database:
        query = "SELECT label FROM labeled_texts WHERE model = 'plain' ORDER BY row_number"
        assert [row[0] for row in database.execute(query)] == expected["roberta"]


def test_versions_and_show_tell_what_is_known_of_a_model_from_elsewhere(
    models: Path, home: Path, store: Store
) -> None:
    said(home, "register", models / "bert", "--model", "shown", "--data-name", "letters of ours")
    shown = said(home, "show", "shown:1")
    assert shown.startswith(f"shown:1 (ready)\naliases: production\nbase: {models / 'bert'}\n")
    assert "data: letters of ours\n" in shown
    assert "terms: not stated\n" in shown
    assert f": training register {models / 'bert'}\n" in shown
    (listed,) = json.loads(said(home, "versions", "shown", "--json"))
    assert (listed["accuracy"], listed["license"], listed["state"]) == (None, None, "ready")
    assert [event.event for event in list_events(store, "shown")].count("registered") == 1


def test_only_what_is_needed_is_taken(
    models: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    folder = plain_classifier(tmp_path / "much")
    for name in ("pytorch_model.bin", "optimizer.pt", "modeling_own.py", "notes.txt"):
        (folder / name).write_text("import this")
    (folder / "README.md").write_text("# Whose it is\n")
    said(home, "register", folder, "--model", "lean")
    version = resolve(store, parse_ref("lean:1"))
    assert set(version.adapter_sha256) == {
        "README.md",
        "config.json",
        "labelstream.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    assert version.adapter_sha256["model.safetensors"] == file_sha256(folder / "model.safetensors")


@pytest.mark.parametrize("bits", [32, 16])
def test_an_adapter_made_by_plain_peft_comes_in_and_computes_what_peft_does(
    models: Path, home: Path, tmp_path: Path, bits: int
) -> None:
    base = models / "base"
    if bits == 16:
        # In weights of 16 bits there is no place for all that an adapter adds.
        base = tmp_path / "base"
        AutoModel.from_pretrained(models / "base").bfloat16().save_pretrained(base)
        AutoTokenizer.from_pretrained(models / "base").save_pretrained(base)
    model = f"adapted-{bits}"
    said(
        home, "register", models / "adapter", "--model", model, "--base", base,
        "--labels", "a,b,c", "--max-length", 32,
    )  # fmt: skip
    merge(home, f"{model}:1")
    with Classifier.load(model, settings=settings_of(home)) as classifier:
        assert (classifier.labels, classifier.version.max_length) == (("a", "b", "c"), 32)
        assert classifier.version.base == str(base)
        assert set(classifier.version.base_sha256) == {
            "model.safetensors",
            "config.json",
            "tokenizer.json",
        }
        logits = torch.from_numpy(classifier.logits(TEXTS))
    expected = peft_logits(models / "adapter", base, TEXTS)
    assert len(set(expected.argmax(dim=1).tolist())) > 1
    assert (logits - expected).abs().max().item() < 1e-4


def test_an_adapter_that_names_base_and_labels_needs_neither_said(
    models: Path, home: Path, tmp_path: Path
) -> None:
    folder = plain_adapter(tmp_path / "adapter", models / "base")
    AutoConfig.from_pretrained(
        models / "base", id2label={0: "sí", 1: "no", 2: "quizás"}
    ).save_pretrained(folder)
    told = json.loads(said(home, "register", folder, "--model", "named", "--json"))
    assert (told["base"], told["labels"]) == (str(models / "base"), ["sí", "no", "quizás"])
    # A text is cut where the base's own tokenizer cuts it, unless told otherwise.
    assert told["max_length"] == 64


def test_weights_in_several_files_come_in(models: Path, home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "sharded"
    model = AutoModelForSequenceClassification.from_pretrained(models / "bert")
    model.save_pretrained(folder, max_shard_size="30KB")
    AutoTokenizer.from_pretrained(models / "bert").save_pretrained(folder)
    assert len(list(folder.glob("model-*.safetensors"))) > 2
    said(home, "register", folder, "--model", "sharded")
    assert labels_of(home, "sharded:1") == pipeline_labels(models / "bert", TEXTS)


def test_weights_of_16_bits_are_computed_with_in_32(
    models: Path, home: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "half"
    model = AutoModelForSequenceClassification.from_pretrained(models / "bert")
    model.bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(models / "bert").save_pretrained(folder)
    said(home, "register", folder, "--model", "half")
    model.float().eval()
    batch = AutoTokenizer.from_pretrained(folder)(TEXTS, padding=True, return_tensors="pt")
    with torch.inference_mode():
        expected = model(**batch).logits
    with Classifier.load("half:1", settings=settings_of(home)) as classifier:
        logits = torch.from_numpy(classifier.logits(TEXTS))
    assert (logits - expected).abs().max().item() < 1e-4


def test_labels_that_nobody_named_are_named_by_the_user(models: Path, home: Path) -> None:
    said(home, "register", models / "bert", "--model", "renamed", "--labels", "ruhig, böse ,froh")
    translated = {"calm": "ruhig", "cross": "böse", "glad": "froh"}
    expected = [translated[label] for label in pipeline_labels(models / "bert", TEXTS)]
    assert labels_of(home, "renamed:1") == expected


def test_data_measures_calibrates_and_reports(
    models: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    found = pipeline_labels(models / "bert", TEXTS)
    # Every fourth label is another than the model's.
    truth = [LABELS[(LABELS.index(label) + (n % 4 == 3)) % 3] for n, label in enumerate(found)]
    for split, start, stop in (("train", 0, 40), ("val", 40, 120), ("test", 120, 200)):
        rows = zip(TEXTS[start:stop], truth[start:stop], strict=True)
        (folder / f"{split}.txt").write_text("".join(f"{text};{label}\n" for text, label in rows))
    told = json.loads(
        said(home, "register", models / "bert", "--model", "measured", "--data", folder, "--json")
    )
    # 80 rows are tested, of which each fourth has another label.
    assert (told["split"], told["rows"], told["accuracy"]) == ("test", 80, 0.75)
    assert told["ece_calibrated"] < told["ece"]
    version = resolve(store, parse_ref("measured:1"))
    assert version.temperature == {"torch": told["temperature"]}
    assert version.metrics["validation"]["accuracy"] == 0.75
    assert (version.data, version.data_fingerprint) == ("data", None)
    page = artifact_store(settings_of(home)).verified(version.adapter, version.adapter_sha256)
    report = (page / "report.html").read_text()
    assert "measured" in report
    assert "0.7500" in report
    shown = said(home, "show", "measured:1")
    assert f"report: {page / 'report.html'}\n" in shown
    assert f"temperature: torch {told['temperature']:.4f}\n" in shown
    # And the temperature is what the classifier divides by.
    with Classifier.load("measured:1", settings=settings_of(home)) as classifier:
        logits = torch.from_numpy(classifier.logits(TEXTS[:5])).double()
        scores = [each["score"] for each in classifier(TEXTS[:5])]
    expected = (logits / told["temperature"]).softmax(dim=1).max(dim=1).values.tolist()
    assert scores == pytest.approx(expected, abs=1e-5)


def test_what_was_exported_is_registered_again_as_it_is(
    models: Path, home: Path, store: Store, tmp_path: Path
) -> None:
    said(home, "register", models / "bert", "--model", "out", "--license", "theirs")
    said(home, "export", "out:1", tmp_path / "exported")
    said(home, "register", tmp_path / "exported", "--model", "back")
    (version,) = list_versions(store, "back")
    assert (version.labels, version.license, version.max_length) == (LABELS, "theirs", 64)
    assert labels_of(home, "back:1") == pipeline_labels(models / "bert", TEXTS)
