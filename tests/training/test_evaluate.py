"""`training evaluate`: what it measures is what serves, and what it fits is what serves then."""

import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from sklearn.metrics import accuracy_score, confusion_matrix, f1_score, log_loss

from db.errors import JobFailed
from db.registry.events import list_events
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve, set_temperature
from db.store import Store, open_store
from tests.cluster import Cluster
from tests.db.labels import label_row
from tests.db.ledger_parts import begin, change
from tests.training.conftest import Moods
from tests.training.moods import (
    LABELS,
    LabelledText,
    Texts,
    mood_rows,
    read_rows,
    refused,
    said,
    settings_of,
    write_splits,
)
from tests.training.test_fit import one_thread
from tests.worker.made_engines import MadeEngine
from tests.worker.versions import version
from training.data import read_data
from training.evaluation import calibrated, evaluate
from worker import Classifier
from worker.predictions import probabilities

__all__ = ["one_thread"]

#: How the version sorts them.
ORDER = tuple(sorted(LABELS))


@pytest.fixture
def home(moods: Moods, tmp_path: Path) -> Path:
    return moods.copied(tmp_path / "home")


@pytest.fixture
def store(home: Path) -> Iterator[Store]:
    store = open_store(settings_of(home))
    yield store
    store.close()


@pytest.fixture(scope="module")
def noisy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data of which half has another label: nobody can be sure of it."""
    texts = Texts(seed=7)
    folder = tmp_path_factory.mktemp("noisy") / "data"
    splits = {name: mood_rows(texts, 120, wrong_one_in=2) for name in ("train", "val", "test")}
    return write_splits(folder, **splits)


def measured(home: Path, *arguments: object) -> dict[str, Any]:
    """What `training evaluate --json` says: one JSON object and nothing else."""
    line = said(home, "evaluate", *arguments, "--json")
    found = json.loads(line)
    assert isinstance(found, dict)
    return found


def registered(store: Store, name: str = "mood:1") -> Version:
    return resolve(store, parse_ref(name))


def texts_of(rows: Sequence[LabelledText]) -> list[str]:
    return [text for text, _ in rows]


def test_the_figures_are_those_of_the_classifier_that_serves(home: Path, moods: Moods) -> None:
    rows = read_rows(moods.data / "test.txt")
    with Classifier.load("mood:1", settings=settings_of(home)) as classifier:
        answers = classifier(texts_of(rows), top_k=None)
    truth = [label for _, label in rows]
    labels = [each[0]["label"] for each in answers]
    scores = [
        [{one["label"]: one["score"] for one in each}[name] for name in ORDER] for each in answers
    ]

    found = measured(home, "mood:1", "--data", moods.data)
    assert (found["model"], found["version"], found["split"], found["rows"]) == (
        "mood",
        1,
        "test",
        216,
    )
    assert found["accuracy"] == pytest.approx(accuracy_score(truth, labels))
    assert found["macro_f1"] == pytest.approx(f1_score(truth, labels, average="macro"))
    assert found["confusion"] == confusion_matrix(truth, labels, labels=ORDER).tolist()
    assert list(found["per_class"]) == list(ORDER)
    assert {each["support"] for each in found["per_class"].values()} == {72}
    assert found["log_loss_calibrated"] == pytest.approx(
        log_loss(truth, scores, labels=ORDER), rel=1e-6
    )
    sure = np.asarray([max(each) for each in scores])
    right = np.asarray(truth) == np.asarray(labels)
    places = np.ceil(sure * 15)
    gaps = [
        abs(right[places == at].mean() - sure[places == at].mean()) * (places == at).mean()
        for at in set(places)
    ]
    assert found["ece_calibrated"] == pytest.approx(sum(gaps))
    assert (found["engine"], found["calibrated"], found["report"]) == ("torch", False, None)
    assert found["accuracy"] > 0.7, "it learnt something"


def test_the_fit_said_the_same_of_it_when_it_registered_it(home: Path, moods: Moods) -> None:
    found = measured(home, "mood:1", "--data", moods.data)
    assert moods.first.keys() >= {"model", "version", "split", "accuracy", "macro_f1", "comparison"}
    for figure in ("model", "version", "split", "accuracy", "macro_f1", "confusion", "per_class"):
        assert moods.first[figure] == found[figure], figure
    for figure in ("temperature", "log_loss", "ece", "log_loss_calibrated", "ece_calibrated"):
        assert moods.first[figure] == pytest.approx(found[figure], rel=1e-6), figure


def test_a_split_is_named_and_by_default_test_or_else_validation(
    home: Path, moods: Moods, tmp_path: Path
) -> None:
    for split, rows in (("validation", 90), ("train", 300), ("all", 606)):
        found = measured(home, "mood:1", "--data", moods.data, "--split", split)
        assert (found["split"], found["rows"]) == (split, rows)
    splits = {name: read_rows(moods.data / f"{name}.txt") for name in ("train", "val")}
    without = write_splits(tmp_path / "without", **splits)
    found = measured(home, "mood:1", "--data", without)
    assert (found["split"], found["rows"]) == ("validation", 90)
    assert refused(home, "evaluate", "mood:1", "--data", without, "--split", "test") == (
        "without has no test split: see --split"
    )


def test_a_version_without_a_temperature_gets_the_one_of_lowest_loss_on_validation(
    home: Path, store: Store, moods: Moods
) -> None:
    change(store, "UPDATE model_versions SET temperature = '{}'")
    set_temperature(store, registered(store), "another", 3.0, who="me")
    found = measured(home, "mood:1", "--data", moods.data)

    rows = read_rows(moods.data / "val.txt")
    truth = [ORDER.index(label) for _, label in rows]
    with Classifier.load("mood:1", settings=settings_of(home)) as classifier:
        logits = classifier.logits(texts_of(rows))
    # Platt's targets: the truth counts 1 - 1/92, each of the two others 1/184.
    targets = np.full((90, 3), 1 / 184)
    targets[range(90), truth] = 1 - 1 / 92
    lowest = minimize_scalar(
        lambda at: float(-(targets * np.log(probabilities(logits, at))).sum()),
        bounds=(0.05, 20),
        method="bounded",
        options={"xatol": 1e-7},
    )
    assert found["temperature"] == pytest.approx(lowest.x, rel=1e-4)
    assert found["calibrated"] is True
    # Per engine, and with an event.
    assert registered(store).temperature == {"another": 3.0, "torch": found["temperature"]}
    event = list_events(store, "mood", 1)[-1]
    assert (event.event, event.why) == ("calibrated", f"torch: temperature {lowest.x:.4f}")


def test_a_temperature_that_is_there_stays_until_another_is_asked_for(
    home: Path, store: Store, noisy: Path
) -> None:
    before = registered(store).temperature["torch"]
    found = measured(home, "mood:1", "--data", noisy)
    assert (found["temperature"], found["calibrated"]) == (before, False)
    assert registered(store).temperature == {"torch": before}

    again = measured(home, "mood:1", "--data", noisy, "--recalibrate")
    assert (again["calibrated"], registered(store).temperature) == (
        True,
        {"torch": again["temperature"]},
    )
    # Half of this data is wrong: who was sure of it is much less so now, and better calibrated.
    assert again["temperature"] > 1.5 * before
    assert again["ece_calibrated"] < again["ece"] - 0.05
    assert again["log_loss_calibrated"] < again["log_loss"]
    for figure in ("accuracy", "confusion", "log_loss", "ece"):
        assert again[figure] == found[figure], figure


def test_the_temperature_changes_the_confidence_and_no_label(
    home: Path, moods: Moods, noisy: Path
) -> None:
    texts = texts_of(read_rows(moods.data / "test.txt"))
    settings = settings_of(home)
    with Classifier.load("mood:1", settings=settings) as classifier:
        before, logits = classifier(texts), classifier.logits(texts)
    found = measured(home, "mood:1", "--data", noisy, "--recalibrate")
    with Classifier.load("mood:1", settings=settings) as classifier:
        after = classifier(texts)
    assert [each["label"] for each in after] == [each["label"] for each in before]
    expected = probabilities(logits, found["temperature"]).max(axis=1)
    assert [each["score"] for each in after] == pytest.approx(expected)
    assert all(new["score"] < old["score"] for new, old in zip(after, before, strict=True))


def test_a_running_worker_takes_temperature_and_threshold_over(
    home: Path, moods: Moods, noisy: Path, redis_url: str, tmp_path: Path
) -> None:
    folder = tmp_path / "cluster"
    folder.mkdir()
    url = f"sqlite:///{home / 'labelstream.db'}"
    cluster = Cluster(folder, redis_url, url, home / "registry")
    texts = texts_of(read_rows(moods.data / "test.txt"))
    with (folder / "rows.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("text",), *((text,) for text in texts)])
    with Classifier.load("mood:1", settings=settings_of(home)) as classifier:
        logits, first = classifier.logits(texts), classifier.version.temperature["torch"]
    rows = "SELECT label, confidence, unsure FROM labeled_texts WHERE job_id = :job ORDER BY row_number"
    try:
        cluster.start_worker(LABELSTREAM_MODEL="mood@production")
        before = cluster.ingest("rows.csv", "--model", "mood")
        then = cluster.rows(rows, job=before["job"])
        assert [row.confidence for row in then] == pytest.approx(
            probabilities(logits, first).max(axis=1), abs=2e-6
        )
        assert not any(row.unsure for row in then), "no threshold was set"

        found = measured(home, "mood:1", "--data", noisy, "--recalibrate")
        said(home, "threshold", "mood:1", 0.6)
        after = cluster.ingest("rows.csv", "--model", "mood", "--again")
        now = cluster.rows(rows, job=after["job"])
    finally:
        cluster.stop()
    confidence = probabilities(logits, found["temperature"]).max(axis=1)
    assert [row.confidence for row in now] == pytest.approx(confidence, abs=2e-6)
    assert [bool(row.unsure) for row in now] == [row.confidence < 0.6 for row in now]
    assert {bool(row.unsure) for row in now} == {True, False}
    assert [row.label for row in now] == [row.label for row in then]


def test_people_get_tables_and_are_told_what_was_calibrated(
    home: Path, moods: Moods, tmp_path: Path
) -> None:
    found = measured(home, "mood:1", "--data", moods.data)
    page = tmp_path / "page.html"
    arguments = ("mood:1", "--data", moods.data, "--recalibrate", "--report", page)
    lines = said(home, "evaluate", *arguments).splitlines()
    assert lines[0] == "mood:1 on test of data: 216 rows, engine torch"
    assert lines[1] == f"accuracy {found['accuracy']:.4f}, macro-F1 {found['macro_f1']:.4f}"
    afraid = found["per_class"]["afraid"]
    figures = [f"{afraid[name]:.4f}" for name in ("precision", "recall", "f1")]
    assert ["afraid", *figures, "72"] in [line.split() for line in lines]
    assert ["calm", *map(str, found["confusion"][1])] in [line.split() for line in lines]
    assert lines[-2].startswith(
        f"mood:1 divides its logits by {found['temperature']:.4f} from now on (engine torch; "
        "fitted on 90 rows of validation)"
    )
    assert lines[-1] == f"report: {page}"
    assert page.read_text().startswith("<!doctype html>")


def test_labels_are_matched_by_name_whatever_order_the_data_has(home: Path, moods: Moods) -> None:
    found = measured(home, "mood:1", "--data", moods.data)
    turned = measured(home, "mood:1", "--data", moods.data, "--labels", "cross,calm,afraid")
    assert (turned["confusion"], turned["accuracy"]) == (found["confusion"], found["accuracy"])


def test_what_cannot_be_measured_is_one_line(
    home: Path, store: Store, moods: Moods, tmp_path: Path
) -> None:
    change(store, "UPDATE model_versions SET temperature = '{}'")
    data = ("--data", moods.data)
    assert "there is no model mood:7" in refused(home, "evaluate", "mood:7", *data)
    assert "there is no model nobody" in refused(home, "evaluate", "nobody:1", *data)
    assert "does not exist: check --data" in refused(
        home, "evaluate", "mood:1", "--data", "none.csv"
    )
    odd = [*read_rows(moods.data / "test.txt"), ("so sad", "sad")]
    foreign = write_splits(
        tmp_path / "foreign", train=odd, val=read_rows(moods.data / "val.txt"), test=odd
    )
    assert refused(home, "evaluate", "mood:1", "--data", foreign) == (
        "foreign has the label 'sad', which mood:1 does not know: its labels are afraid, calm, cross"
    )
    assert refused(home, "evaluate", "mood:1", *data, engine="constant") == (
        "engine constant computes with no model, so there is nothing to measure: set "
        "LABELSTREAM_ENGINE=auto"
    )
    assert "computes with no model" in refused(
        home, "evaluate", "mood:1", *data, engine="constant-tokenised"
    )
    for place, why in (
        (tmp_path, "is a folder"),
        (tmp_path / "no" / "page.html", "there is no folder"),
    ):
        assert why in refused(home, "evaluate", "mood:1", *data, "--report", place)
    # And nothing was stored on the way.
    assert registered(store).temperature == {}


def test_a_text_that_an_engine_fails_on_is_an_error_and_no_temperature(tmp_path: Path) -> None:
    rows = [("some a", "a"), ("some b", "b"), ("some c", "c")]
    data = read_data(
        str(write_splits(tmp_path / "data", train=rows, val=[*rows, ("nan", "a")], test=rows))
    )
    with Classifier(version("abc"), MadeEngine()) as classifier:
        assert evaluate(classifier, data, "test").metrics.rows == 3
        for measure in (
            lambda: evaluate(classifier, data, "all"),
            lambda: calibrated(classifier, data),
        ):
            with pytest.raises(JobFailed, match="no usable logits for 1 texts of data"):
                measure()


def test_the_rows_of_a_job_are_data_too(home: Path, store: Store, moods: Moods) -> None:
    begin(store, model="mood", model_ref="mood@production")
    for number, (words, label) in enumerate(read_rows(moods.data / "test.txt"), 1):
        label_row(store, 1, number, label, text=words, model="mood")
    found = measured(home, "mood@production", "--data", "job:1", "--split", "all")
    test = measured(home, "mood:1", "--data", moods.data)
    assert (found["split"], found["confusion"]) == ("all", test["confusion"])
    assert "there is no job 2" in refused(home, "evaluate", "mood:1", "--data", "job:2")
