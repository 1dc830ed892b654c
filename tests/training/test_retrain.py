"""`training retrain`: the original data and what people corrected since, and never what is held out."""

import csv
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from db.registry.aliases import list_aliases
from db.registry.events import list_events
from db.registry.versions import list_versions
from db.store import Store, open_store
from tests.db.labels import correct, label_row, label_rows
from tests.db.ledger_parts import begin
from tests.training.conftest import Moods, merge
from tests.training.moods import (
    QUICK,
    LabelledText,
    Texts,
    read_rows,
    refused,
    said,
    settings_of,
    training_in,
    write_splits,
)
from tests.training.test_fit import one_thread
from worker import Classifier
from worker.starter import ADAPTER

__all__ = ["one_thread"]


@dataclass(frozen=True)
class Turned:
    """A model that took nearly all fear for anger, until 300 texts were corrected."""

    home: Path
    data: Path
    #: Texts that were corrected, and may be learnt from; all of them are afraid.
    corrected: tuple[str, ...]
    #: Texts of validation and test that were corrected too.
    planted: tuple[str, ...]
    said: Mapping[str, Any]
    stderr: str


@pytest.fixture(scope="module")
def turned(moods: Moods, tmp_path_factory: pytest.TempPathFactory) -> Turned:
    """Fit `mood:1`, correct its rows by `training corrections import`, and retrain it."""
    folder = tmp_path_factory.mktemp("turned")
    home, texts = folder / "home", Texts(seed=2)

    def rows(count: int, mood: str, label: str) -> list[LabelledText]:
        return [(texts.of(mood), label) for _ in range(count)]

    mistaken, known = rows(50, "afraid", "cross"), rows(10, "afraid", "afraid")
    train = [*rows(120, "calm", "calm"), *rows(120, "cross", "cross"), *mistaken, *known]
    val, test = (
        [row for mood in ("calm", "cross", "afraid") for row in rows(count, mood, mood)]
        for count in (25, 40)
    )
    data = write_splits(folder / "data", train=train, val=val, test=test)
    options = ("--model", "mood", "--base", moods.base, *QUICK)
    said(home, "fit", "--data", data, *options)
    merge(home, "mood:1")

    new = [texts.of("afraid") for _ in range(240)]
    corrected = [*(text for text, _ in (*mistaken, *known)), *new]
    planted = [text for text, _ in (*val[-12:], *test[-18:])]
    store = open_store(settings_of(home))
    begin(store, model="mood", model_ref="mood@production")
    # White space apart, these are the texts of the data.
    seen = [*corrected, *(f" {text.replace(' ', '  ')}\n" for text in planted)]
    label_rows(store, 1, seen, "cross", model="mood")
    label_row(store, 1, 331, "cross", text=None, model="mood")
    store.close()
    # What Bob said first of half of them is followed by what Ann said.
    write_corrections(folder / "bob.csv", range(1, 151), "calm", "bob")
    write_corrections(folder / "ann.csv", range(1, 332), "afraid", "ann")
    for file, added in (("bob.csv", 150), ("ann.csv", 331)):
        done = json.loads(said(home, "corrections", "import", folder / file, "--json"))
        assert (done["added"], done["refused"]) == (added, 0)

    done = training_in(
        home, "retrain", "--data", data, "--model", "mood", "--promote-if-better", "--json"
    )
    assert done.status == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    merge(home, "mood:2")
    return Turned(
        home, data, tuple(corrected), tuple(planted), json.loads(done.stdout), done.stderr
    )


def write_corrections(path: Path, rows: range, label: str, who: str) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("job", "row", "label", "annotator"))
        writer.writerows((1, row, label, who) for row in rows)


def share_called_afraid(home: Path, version: str, texts: tuple[str, ...]) -> float:
    with Classifier.load(version, settings=settings_of(home)) as classifier:
        called = [each["label"] for each in classifier(texts)]
    return called.count("afraid") / len(called)


def test_three_hundred_corrections_turn_a_rare_class_around(turned: Turned) -> None:
    assert len(turned.corrected) == 300
    before, after = (
        share_called_afraid(turned.home, name, turned.corrected) for name in ("mood:1", "mood:2")
    )
    assert before < 0.5
    assert after > 0.9
    was, now = turned.said["comparison"]["f1"]["afraid"]
    assert was < 0.6 < 0.9 < now


def test_what_became_of_each_correction_is_counted(turned: Turned) -> None:
    assert turned.said["corrections"] == {
        "relabelled": 50,
        "confirmed": 10,
        "added": 240,
        "held_out": 30,
        "without_text": 1,
        "overlapping": 0,
    }
    described = described_by(turned.home, 2)
    assert described["data"]["rows"] == {"train": 540, "validation": 75, "test": 120}
    assert described["data"]["train_labels"] == {"afraid": 300, "calm": 120, "cross": 120}
    notes = [
        "300 corrected texts: 50 with another label than before, 10 confirmed, 240 new.",
        "30 corrected texts stand in validation or test and were left out.",
        "1 corrected rows have no stored text and were left out.",
    ]
    assert described["data"]["notes"] == notes
    for note in notes:
        assert f"note: {note}" in turned.stderr


def test_who_beats_production_is_promoted_and_the_event_says_why(turned: Turned) -> None:
    assert (turned.said["version"], turned.said["parent_version"]) == (2, 1)
    assert turned.said["promoted"] is True
    before, after = turned.said["comparison"]["macro_f1"]
    reason = turned.said["reason"]
    assert reason.startswith(f"macro-F1 {after:.4f} against {before:.4f} of mood:1, McNemar's p ")
    store = open_store(settings_of(turned.home))
    assert list_aliases(store)["mood", "production"] == 2
    version = list_versions(store, "mood")[1]
    events = {event.event: event for event in list_events(store, "mood", 2)}
    store.close()
    assert version.parent_version == 1
    assert events["registered"].why == "retrained from mood:1 with 330 corrected texts"
    assert (events["promoted"].from_version, events["promoted"].why) == (1, reason)


def test_the_recipe_is_that_of_the_version_before(turned: Turned) -> None:
    first, second = (described_by(turned.home, number) for number in (1, 2))
    for key in ("hyper_parameters", "base", "max_length", "seed", "labels", "license", "language"):
        assert second[key] == first[key], key
    assert second["hyper_parameters"]["epochs"] == 10
    assert second["hyper_parameters"]["learning_rate"] == 0.01
    assert len(second["epochs"]) == 10


def test_what_is_asked_for_wins_over_the_recipe(turned: Turned, tmp_path: Path) -> None:
    line = said(
        turned.home, "retrain", "--data", turned.data, "--model", "mood", "--epochs", 2,
        "--learning-rate", 0.002, "--seed", 7, "--license", "theirs", "--language", "fr",
        "--data-name", "ours and corrections", "--note", "Made twice.", "--out", tmp_path / "out",
    )  # fmt: skip
    described = json.loads((tmp_path / "out" / "labelstream.json").read_text())
    recipe = described["hyper_parameters"]
    assert (recipe["epochs"], recipe["learning_rate"], described["seed"]) == (2, 0.002, 7)
    assert (recipe["batch_size"], described["max_length"]) == (16, 16)
    assert (described["license"], described["language"]) == ("theirs", "fr")
    assert described["data"]["name"] == "ours and corrections"
    assert described["data"]["notes"][0] == "Made twice."
    assert described["parent_version"] == 2
    # Nobody asked for it to be promoted.
    assert "in production now" not in line
    store = open_store(settings_of(turned.home))
    assert list_aliases(store)["mood", "production"] == 2
    store.close()


def described_by(home: Path, version: int) -> dict[str, Any]:
    store = open_store(settings_of(home))
    adapter = list_versions(store, "mood")[version - 1].adapter
    store.close()
    found: dict[str, Any] = json.loads(
        (home / "registry" / adapter / "labelstream.json").read_text()
    )
    return found


@pytest.fixture
def home(moods: Moods, tmp_path: Path) -> Path:
    return moods.copied(tmp_path / "home")


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(settings_of(home))
    yield store
    store.close()


def test_what_cannot_be_retrained_is_one_line_before_any_training(
    home: Path, store: Store, moods: Moods, tmp_path: Path
) -> None:
    begin(store, model="mood", model_ref="mood@production")
    label_row(store, 1, 1, "calm", text="so new", model="mood")
    without = write_splits(
        tmp_path / "without",
        **{name: read_rows(moods.data / f"{name}.txt") for name in ("train", "val")},
    )
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    asked = ("retrain", "--model", "mood", "--data")
    for arguments, settings, why in (
        ((moods.data, "--model", "nobody"), {}, "nobody has no version in production to retrain"),
        ((tmp_path / "none.csv",), {}, "none.csv does not exist: check --data"),
        (
            (without, "--promote-if-better"),
            {},
            "--promote-if-better compares on a test split, which without does not have",
        ),
        ((moods.data, "--out", full), {}, "full exists and is not empty"),
        ((moods.data,), {"engine": "constant"}, "engine constant computes with no model"),
    ):
        assert why in refused(home, *asked, *arguments, **settings)
    correct(store, 1, 1, "sad", minute=1)
    assert "a row was corrected to 'sad', which data does not have" in refused(
        home, *asked, moods.data
    )
    assert len(list_versions(store, "mood")) == 2


def test_fit_too_finds_out_first_whether_its_result_could_be_measured_and_compared(
    home: Path, store: Store, moods: Moods, tmp_path: Path
) -> None:
    without = write_splits(
        tmp_path / "without",
        **{name: read_rows(moods.data / f"{name}.txt") for name in ("train", "val")},
    )
    asked = ("fit", "--model", "mood", "--base", moods.base, *QUICK, "--data")
    assert "which without does not have" in refused(home, *asked, without, "--promote-if-better")
    assert "engine constant" in refused(home, *asked, moods.data, engine="constant")
    assert "goes with --register" in refused(
        home, *asked, moods.data, "--promote-if-better", "--no-register", "--out", tmp_path / "out"
    )
    assert len(list_versions(store, "mood")) == 2


def test_a_model_from_elsewhere_is_retrained_by_the_usual_recipe() -> None:
    from training.fit_config import FitConfig, recorded_config

    assert recorded_config({"base": "a/base", "base_revision": "abc", "labels": ["a", "b"]}) == (
        FitConfig(base="a/base", base_revision="abc")
    )
    starter = json.loads((ADAPTER / "labelstream.json").read_text())
    recorded = recorded_config(starter)
    assert (recorded.epochs, recorded.learning_rate, recorded.max_length, recorded.seed) == (
        starter["hyper_parameters"]["epochs"],
        starter["hyper_parameters"]["learning_rate"],
        128,
        42,
    )
