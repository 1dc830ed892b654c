"""The main job on real data: CSV, ledger, Redis, Celery workers, SQL, with the real model."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest

from db.settings import Settings
from tests.cluster import Cluster
from tests.pipeline.conftest import EMOTION
from training.metrics import measure
from worker import Classifier

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


def read_split(name: str) -> tuple[list[str], list[str]]:
    if not EMOTION.is_dir():
        pytest.skip("the data set dair-ai/emotion is not beside the project (shared/data/emotion)")
    pairs = [line.rsplit(";", 1) for line in (EMOTION / name).read_text().splitlines()]
    return [pair[0] for pair in pairs], [pair[1] for pair in pairs]


def write_csv(path: Path, texts: list[str]) -> Path:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows([f"t{n}", text] for n, text in enumerate(texts, 1))
    return path


@pytest.fixture
def test_split(tmp_path: Path) -> tuple[Path, list[str], list[str]]:
    texts, labels = read_split("test.txt")
    return write_csv(tmp_path / "test.csv", texts), texts, labels


@pytest.fixture(scope="module")
def direct_labels(starter_sqlite: str, registry: Path) -> list[tuple[str, bool]]:
    """What `Classifier` says of each test tweet, and whether its two best are clearly apart."""
    texts, _ = read_split("test.txt")
    settings = Settings(_env_file=None, database_url=starter_sqlite, registry_dir=registry)
    classifier = Classifier.load("emotion:1", settings=settings)
    logits = classifier.logits(texts)
    classifier.close()
    best_two = np.sort(logits, axis=1)[:, -2:]
    clear = best_two[:, 1] - best_two[:, 0] >= 0.001
    names = [classifier.labels[index] for index in logits.argmax(axis=1)]
    return list(zip(names, clear.tolist(), strict=True))


def test_the_test_tweets_go_the_whole_way_with_two_workers(
    cluster: Cluster,
    test_split: tuple[Path, list[str], list[str]],
    direct_labels: list[tuple[str, bool]],
    capsys: pytest.CaptureFixture[str],
) -> None:
    path, texts, labels = test_split
    cluster.start_worker()
    cluster.start_worker()
    result = cluster.ingest(path)
    assert (result["rows"], result["labeled"], result["rejected"]) == (2000, 2000, 0)
    assert result["state"] == "done"
    assert result["model_versions"] == {"1": 2000}
    rows = cluster.rows(
        "SELECT row_number, external_id, label, text FROM labeled_texts ORDER BY row_number"
    )
    assert [row.row_number for row in rows] == list(range(1, 2001))
    assert [row.external_id for row in rows] == [f"t{n}" for n in range(1, 2001)]
    assert [row.text for row in rows] == texts
    workers = cluster.rows("SELECT DISTINCT worker FROM chunks WHERE labeled > 0")
    assert len(workers) == 2, "both workers labelled"
    said = [row.label for row in rows]
    measured = measure(
        [LABELS.index(label) for label in labels], [LABELS.index(label) for label in said], LABELS
    )
    with capsys.disabled():
        print(f"\ntest split: accuracy {measured.accuracy:.4f}, macro-F1 {measured.macro_f1:.4f}")
    assert measured.accuracy > 0.914
    assert measured.macro_f1 > 0.874
    assert [
        row.row_number
        for row, (label, clear) in zip(rows, direct_labels, strict=True)
        if clear and row.label != label
    ] == []
    assert sum(not clear for _, clear in direct_labels) <= 5


def test_json_is_one_object_with_the_keys_of_the_contract(cluster: Cluster, tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text('text\nwhat a wonderful day\n""\ni miss you so much\n')
    cluster.start_worker(LABELSTREAM_ENGINE="constant")
    done = cluster.producer("ingest", path, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 1
    result = json.loads(done.stdout)
    assert {
        "job",
        "state",
        "rows",
        "labeled",
        "rejected",
        "labels",
        "model",
        "model_versions",
    } <= set(result)
    assert {"engine", "seconds", "rows_per_second", "database"} <= set(result)
    assert (result["rows"], result["labeled"], result["rejected"]) == (3, 2, 1)
    assert sum(result["labels"].values()) == 2
    assert result["engine"] == "constant"
