"""`--promote-if-better`, as people type it: the table and the reason stand there either way."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from db.registry.aliases import list_aliases
from db.registry.events import list_events
from db.registry.versions import list_versions
from db.store import Store, open_store
from tests.training.conftest import Moods
from tests.training.moods import QUICK, read_rows, said, settings_of, write_splits
from training.batches import tokenise
from worker import Classifier


@pytest.fixture
def home(moods: Moods, tmp_path: Path) -> Path:
    return moods.copied(tmp_path / "home")


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(settings_of(home))
    yield store
    store.close()


def in_production(store: Store) -> int:
    return list_aliases(store)["mood", "production"]


def test_a_worse_candidate_is_not_promoted_and_the_output_says_why(
    moods: Moods, store: Store
) -> None:
    said_of_it = moods.second
    assert (said_of_it["version"], said_of_it["promoted"]) == (2, False)
    before, after = moods.first["macro_f1"], said_of_it["macro_f1"]
    assert after < before - 0.2, "it had a twentieth of the rows"
    assert said_of_it["reason"] == (
        f"its macro-F1 of {after:.4f} is not above the {before:.4f} of mood:1"
    )
    assert said_of_it["comparison"]["macro_f1"] == [before, after]
    # It is registered all the same, and waits.
    assert [str(each) for each in list_versions(store, "mood")] == ["mood:1", "mood:2"]
    assert in_production(store) == 1
    assert [event.event for event in list_events(store, "mood", 2)] == ["registered"]


def test_nobody_is_asked_to_beat_what_is_not_there(moods: Moods) -> None:
    assert (moods.first["promoted"], moods.first["reason"]) == (None, None), "no gate was asked for"


def test_people_see_the_table_and_the_reason_either_way(
    home: Path, store: Store, moods: Moods
) -> None:
    options = ("--model", "mood", "--base", moods.base, *QUICK, "--epochs", 1)
    # Labels in another order are the same labels.
    arguments = ("--data", moods.data, *options, "--labels", "cross,calm,afraid")
    worse = said(home, "fit", *arguments, "--promote-if-better").splitlines()
    assert worse[0].split() == ["test", "mood:1", "candidate", "change"]
    assert worse[1].startswith("accuracy ")
    assert {"macro-F1", "McNemar's"} <= {line.split()[0] for line in worse}
    for label, figures in moods.first["per_class"].items():
        assert any(line.split()[:3] == ["F1", label, f"{figures['f1']:.4f}"] for line in worse)
    assert worse[-1].startswith("mood:3 is not promoted: its macro-F1 of 0.")
    assert worse[-1].endswith(f"is not above the {moods.first['macro_f1']:.4f} of mood:1")
    assert in_production(store) == 1

    # Beside the version of a twentieth of the data, the whole of it is better.
    said(home, "promote", "mood:2", "--why", "a mishap")
    better = said(home, "retrain", "--data", moods.data, "--model", "mood", "--promote-if-better")
    lines = better.splitlines()
    assert lines[0].split() == ["test", "mood:2", "candidate", "change"]
    start = "mood:4 is in production now: "
    assert lines[-1].startswith(f"{start}macro-F1 0.")
    assert in_production(store) == 4
    event = list_events(store, "mood", 4)[-1]
    assert (event.event, event.from_version) == ("promoted", 2)
    assert event.why == lines[-1].removeprefix(start)
    assert event.why in said(home, "show", "mood:4")


def test_other_labels_pass_only_if_that_was_meant(
    home: Path, store: Store, moods: Moods, tmp_path: Path
) -> None:
    splits = {
        name: [(text, "fine" if label == "calm" else "upset") for text, label in rows]
        for name in ("train", "val", "test")
        for rows in [read_rows(moods.data / f"{name}.txt")]
    }
    two = write_splits(tmp_path / "two", **splits)
    options = (
        "--data", two, "--model", "mood", "--base", moods.base, *QUICK, "--epochs", 1,
        "--promote-if-better",
    )  # fmt: skip
    change = "its labels are not those of mood:1 (new: fine, upset; gone: afraid, calm, cross)"
    lines = said(home, "fit", *options).splitlines()
    assert lines[0] == (
        "not compared with production: mood:1 has other labels: afraid, calm, cross"
    )
    assert lines[-1] == (
        f"mood:3 is not promoted: {change}: give --allow-label-change if that is meant"
    )
    assert in_production(store) == 1

    done = json.loads(said(home, "fit", *options, "--allow-label-change", "--json"))
    assert (done["version"], done["promoted"], done["comparison"]) == (4, True, None)
    assert done["reason"] == f"{change}, which was allowed; nothing could be compared"
    assert in_production(store) == 4
    assert list_events(store, "mood", 4)[-1].why == done["reason"]


def test_beside_a_version_that_does_not_load_nothing_is_promoted(
    home: Path, store: Store, moods: Moods
) -> None:
    version = list_versions(store, "mood")[0]
    for folder in (version.adapter, str(version.merged)):
        for file in (home / "registry" / folder).glob("*.safetensors"):
            file.write_bytes(file.read_bytes()[:-1])
    options = ("--model", "mood", "--base", moods.base, *QUICK, "--epochs", 1)
    arguments = ("--data", moods.data, *options, "--promote-if-better", "--json")
    done = json.loads(said(home, "fit", *arguments))
    assert (done["version"], done["promoted"], done["comparison"]) == (3, False, None)
    assert done["reason"].startswith("it was not compared: mood:1 cannot be loaded: ")
    assert "adapter_model.safetensors is damaged" in done["reason"]
    assert in_production(store) == 1


def test_no_training_and_no_choice_looks_at_the_test_split_and_the_end_looks_once(
    home: Path, moods: Moods, monkeypatch: pytest.MonkeyPatch
) -> None:
    held_out = {text for text, _ in read_rows(moods.data / "test.txt")}
    looks: list[str] = []

    def watched(name: str, function: Callable[..., Any], texts_at: int) -> Callable[..., Any]:
        def look(*arguments: Any, **options: Any) -> Any:
            if held_out & set(arguments[texts_at]):
                looks.append(name)
            return function(*arguments, **options)

        return look

    monkeypatch.setattr("training.fit.tokenise", watched("fit", tokenise, 1))
    monkeypatch.setattr(Classifier, "logits", watched("measured", Classifier.logits, 1))
    options = ("--model", "alone", "--base", moods.base, *QUICK, "--epochs", 2)
    said(home, "fit", "--data", moods.data, *options)
    assert looks == ["measured"]
