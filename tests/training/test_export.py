"""`training export`: what goes out loads without our code, and says what the worker says."""

import csv
import hashlib
import json
import random
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification

from db.registry.names import parse_ref
from db.registry.versions import resolve, set_temperature
from db.store import open_store
from tests.foreign_models import peft_logits, pipeline_labels, plain_classifier, some_texts
from tests.pipeline.conftest import EMOTION
from tests.training.moods import refused, said, settings_of
from worker import Classifier
from worker.bases import STARTER_BASE, resolve_base

#: Two logits that are nearer than this may come out in another order in another micro-batch.
CLOSE = 0.001

EXAMPLES = Path(__file__).parents[2] / "examples" / "tweets.csv"


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """So little work is done soonest by one thread, above all beside others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose only version is the starter, until a test registers more."""
    return tmp_path_factory.mktemp("export") / "home"


@pytest.fixture(scope="module")
def exported(home: Path) -> Path:
    """The starter, exported as a plain model folder."""
    folder = home.parent / "starter"
    assert said(home, "export", "emotion@production", folder) == f"emotion:1 is in {folder}\n"
    return folder


@pytest.fixture(scope="module")
def classifier(home: Path, exported: Path) -> Iterator[Classifier]:
    with Classifier.load("emotion:1", settings=settings_of(home)) as loaded:
        yield loaded


def varied_texts(count: int) -> list[str]:
    """Return the example tweets, and mixtures of them that no model was fitted on."""
    with EXAMPLES.open(newline="", encoding="utf-8") as file:
        tweets = [row["text"] for row in csv.DictReader(file) if (row["text"] or "").strip()]
    pick = random.Random(7)
    words = [word for tweet in tweets for word in tweet.split()]
    # The last ones are longer than the 128 tokens that the starter reads.
    mixed = [
        " ".join(pick.choices(words, k=pick.randint(1, 30) if n < count - 20 else 200))
        for n in range(len(tweets), count)
    ]
    return (tweets + mixed)[:count]


def agreeing(classifier: Classifier, exported: Path, texts: list[str]) -> Counter[str]:
    """Assert that a plain pipeline says of each text what the worker says; count the labels."""
    logits = classifier.logits(texts)
    ours = [classifier.labels[index] for index in logits.argmax(axis=1)]
    plain = pipeline_labels(exported, texts)
    best_two = np.sort(logits, axis=1)[:, -2:]
    close = best_two[:, 1] - best_two[:, 0] < CLOSE
    assert close.sum() <= 5
    clear = [
        pair for pair, near in zip(zip(ours, plain, strict=True), close, strict=True) if not near
    ]
    assert [pair for pair in clear if pair[0] != pair[1]] == []
    return Counter(ours)


def test_a_plain_pipeline_gives_the_workers_labels_on_500_texts(
    classifier: Classifier, exported: Path
) -> None:
    texts = varied_texts(500)
    assert len(texts) == 500
    assert sum(tokens >= 128 for tokens in classifier.tokens(texts)) >= 20
    counts = agreeing(classifier, exported, texts)
    assert len(counts) == 6, "every label occurs"


def test_a_plain_pipeline_gives_the_workers_labels_on_500_real_tweets(
    classifier: Classifier, exported: Path
) -> None:
    if not EMOTION.is_dir():
        pytest.skip("the data set dair-ai/emotion is not beside the project (shared/data/emotion)")
    lines = (EMOTION / "val.txt").read_text(encoding="utf-8").splitlines()
    counts = agreeing(classifier, exported, [line.rpartition(";")[0] for line in lines[:500]])
    assert len(counts) == 6, "every label occurs"


def test_what_is_exported_is_plain_and_says_what_a_pipeline_cannot(
    classifier: Classifier, exported: Path
) -> None:
    assert {"model.safetensors", "config.json", "tokenizer.json", "README.md"} < {
        file.name for file in exported.iterdir()
    }
    tokenizer = json.loads((exported / "tokenizer_config.json").read_text())
    assert tokenizer["model_max_length"] == 128
    described = json.loads((exported / "labelstream.json").read_text())
    assert described["labels"] == list(classifier.labels)
    assert described["temperature"] == classifier.version.temperature


def test_what_was_set_since_the_registration_goes_out_too(home: Path, tmp_path: Path) -> None:
    said(home, "register", plain_classifier(tmp_path / "model"), "--model", "tuned")
    said(home, "threshold", "tuned:1", "0.6")
    settings = settings_of(home)
    store = open_store(settings)
    set_temperature(store, resolve(store, parse_ref("tuned:1")), "torch", 1.5, who="test")
    store.close()
    said(home, "export", "tuned:1", tmp_path / "out")
    said(home, "register", tmp_path / "out", "--model", "again")
    with Classifier.load("again:1", settings=settings) as classifier:
        assert classifier.version.temperature == {"torch": 1.5}
        assert classifier.version.unsure_below == 0.6


def test_adapter_gives_what_was_registered_byte_for_byte(home: Path, tmp_path: Path) -> None:
    folder = tmp_path / "adapter"
    told = json.loads(said(home, "export", "emotion:1", folder, "--adapter", "--json"))
    assert told == {"model": "emotion", "version": 1, "folder": str(folder)}
    registered = json.loads(said(home, "show", "emotion:1", "--json"))["adapter_sha256"]
    found = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in folder.iterdir()}
    assert found == registered
    assert {"adapter_model.safetensors", "adapter_config.json", "labelstream.json"} < found.keys()
    # And it comes in again, under another name, as it was.
    said(home, "register", folder, "--model", "copied")
    copied = json.loads(said(home, "show", "copied:1", "--json"))
    assert copied["adapter_sha256"] == registered
    assert (copied["base"], len(copied["labels"])) == (STARTER_BASE, 6)


def test_plain_peft_computes_with_the_registered_adapter_what_the_worker_does(
    classifier: Classifier, home: Path, tmp_path: Path
) -> None:
    said(home, "export", "emotion:1", tmp_path / "adapter", "--adapter")
    texts = varied_texts(60)
    expected = peft_logits(tmp_path / "adapter", resolve_base(STARTER_BASE).path, texts, labels=6)
    assert np.abs(classifier.logits(texts) - expected.numpy()).max() < 1e-4


@pytest.fixture
def odd(tmp_path: Path) -> Path:
    """A model of 16 bits that reads 64 tokens, whose tokenizer does not say so."""
    folder = plain_classifier(tmp_path / "odd")
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    model.bfloat16().save_pretrained(folder)
    (folder / "tokenizer_config.json").unlink()
    return folder


def test_a_pipeline_cuts_and_computes_as_the_worker_does(
    odd: Path, home: Path, tmp_path: Path
) -> None:
    said(home, "register", odd, "--model", "odd", "--max-length", 16)
    said(home, "export", "odd:1", tmp_path / "out")
    texts = [" ".join(some_texts(20, seed)) for seed in range(40)] + some_texts(200)
    with Classifier.load("odd:1", settings=settings_of(home)) as classifier:
        assert max(classifier.tokens(texts)) == 16
        counts = agreeing(classifier, tmp_path / "out", texts)
    assert len(counts) > 1


def test_a_folder_that_is_not_empty_is_left_alone(home: Path, tmp_path: Path) -> None:
    mine = tmp_path / "mine" / "thesis.txt"
    mine.parent.mkdir()
    mine.write_text("years of work")
    for options in ((), ("--adapter",)):
        for place in (mine.parent, mine):
            line = refused(home, "export", "emotion:1", place, *options)
            assert f"{place} exists and is not empty" in line
    assert [file.read_text() for file in mine.parent.iterdir()] == ["years of work"]


@pytest.mark.parametrize(
    ("version", "message"),
    [
        ("emotion:9", "there is no model emotion:9"),
        ("nobody", "there is no model nobody@production"),
        ("a b", "'a b' names no model; write NAME"),
    ],
)
def test_what_is_not_there_is_told(version: str, message: str, home: Path, tmp_path: Path) -> None:
    assert message in refused(home, "export", version, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_damaged_version_is_not_exported(home: Path, tmp_path: Path) -> None:
    said(home, "register", plain_classifier(tmp_path / "model"), "--model", "damaged")
    folder = json.loads(said(home, "show", "damaged:1", "--json"))["adapter"]
    weights = Path(folder) / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    for options in ((), ("--adapter",)):
        line = refused(home, "export", "damaged:1", tmp_path / "out", *options)
        assert "model.safetensors is damaged: its SHA-256 is not the registered one" in line
    assert not (tmp_path / "out").exists()
