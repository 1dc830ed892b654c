"""While a job runs, versions are promoted and rolled back: no row is lost, doubled or mixed."""

import json
import random
import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from db.registry.aliases import promote, rollback
from db.registry.names import parse_ref
from db.registry.versions import resolve
from tests.cluster import Cluster, wait_until
from tests.foreign_models import plain_classifier
from tests.pipeline.made_versions import merged
from tests.tiny_models import WORDS
from tests.training.moods import said
from worker import Classifier

#: Rows of the job, and of a chunk.
ROWS, CHUNK_ROWS = 20_000, 64

#: Rows that are computed again.
RECOMPUTED = 500

#: Chunks that may be open at once. The producer looks for room 20 times a second, so that on the
#: fastest machine the job lasts 5 s: two promotions and a rollback are each noticed within one.
MAX_OPEN = 3

#: Rows that a version labels before the next one takes its place.
ROWS_A_VERSION = 500

SHAPE = {
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 4,
    "num_attention_heads": 4,
}

#: Two logits that are nearer than this may come out in another order in another micro-batch.
CLOSE = 0.001


@pytest.fixture
def many(tmp_path: Path) -> Path:
    pick = random.Random(1)
    rows = (f"{n},{' '.join(pick.choices(WORDS, k=pick.randint(4, 16)))}\n" for n in range(ROWS))
    path = tmp_path / "many.csv"
    path.write_text("id,text\n" + "".join(rows))
    return path


@pytest.fixture
def three(cluster: Cluster, tmp_path: Path) -> Cluster:
    """A deployment with three versions of `swap`, the first in production.

    They are one model whose labels are turned round: of every text each says something else.
    """
    first = plain_classifier(tmp_path / "first", shape=SHAPE)
    for turn in range(3):
        folder = tmp_path / f"turned-{turn}"
        shutil.copytree(first, folder)
        tensors = load_file(folder / "model.safetensors")
        for name in ("classifier.weight", "classifier.bias"):
            tensors[name] = torch.roll(tensors[name], turn, dims=0)
        save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
        said(
            tmp_path / "home", "register", folder, "--model", "swap",
            database_url=cluster.settings["LABELSTREAM_DATABASE_URL"],
            registry_dir=cluster.settings["LABELSTREAM_REGISTRY_DIR"],
        )  # fmt: skip
        merged(cluster, resolve(cluster.store, parse_ref(f"swap:{turn + 1}")))
    return cluster


def of_version(cluster: Cluster, number: int) -> int:
    query = "SELECT count(*) FROM labeled_texts WHERE model_version = :number"
    return int(cluster.value(query, number=number))


def test_promotions_and_a_rollback_in_mid_job(three: Cluster, many: Path) -> None:
    cluster = three
    started = [cluster.start_worker(LABELSTREAM_MODEL="swap") for _ in range(2)]
    producer = cluster.start_producer(
        "ingest", many, "--model", "swap", "--wait", "--json", "--chunk-rows", str(CHUNK_ROWS),
        "--max-queued", str(MAX_OPEN),
    )  # fmt: skip

    def labelled_by(number: int, more_than: int = 0) -> None:
        wait_until(lambda: of_version(cluster, number) > more_than, 120, f"rows of {number}")
        assert producer.poll() is None, "the job lasts longer than this"

    labelled_by(1, ROWS_A_VERSION)
    promote(cluster.store, "swap", 2, who="test", why="better")
    labelled_by(2, ROWS_A_VERSION)
    promote(cluster.store, "swap", 3, who="test", why="better still")
    labelled_by(3, ROWS_A_VERSION)
    # Every worker has left version 2 by then, but for chunks that it had begun.
    before = of_version(cluster, 2)
    rollback(cluster.store, "swap", who="test", why="worse")
    labelled_by(2, before + ROWS_A_VERSION)
    out, err = producer.communicate(timeout=600)
    assert producer.returncode == 0, err + cluster.logs()[-3000:]
    assert json.loads(out)["labeled"] == ROWS

    # Every row once, none of the chunks failed.
    assert cluster.value("SELECT count(*) FROM labeled_texts") == ROWS
    assert cluster.value("SELECT count(DISTINCT row_number) FROM labeled_texts") == ROWS
    assert cluster.value("SELECT count(*) FROM rejects") == 0
    assert cluster.value("SELECT count(*) FROM chunks WHERE state <> 'done' OR claims <> 1") == 0
    assert cluster.rows("SELECT * FROM chunks WHERE last_error IS NOT NULL") == []
    assert cluster.rows("SELECT * FROM model_events WHERE event = 'refused'") == []
    workers = cluster.rows("SELECT DISTINCT worker FROM chunks WHERE labeled > 0")
    assert len(workers) == 2, "both workers labelled"

    # What the workers tell of themselves when they leave adds up.
    for process in started:
        process.terminate()
        assert process.wait(30) == 0
    told = re.findall(r"computed: rows=(\d+) .* longest_idle_ms=\d", cluster.logs())
    assert len(told) == 2
    assert sum(map(int, told)) == ROWS

    # Every chunk whole and on one version; all three served.
    rows = cluster.rows("SELECT row_number, text, label, model_version, engine FROM labeled_texts")
    chunks = {((row.row_number - 1) // CHUNK_ROWS, row.model_version) for row in rows}
    assert len(chunks) == -(-ROWS // CHUNK_ROWS)
    assert {row.model_version for row in rows} == {1, 2, 3}

    # Each row's label is what its version and engine say of its text, and the others do not.
    pick = random.Random(2)
    sample = []
    for number, count in ((1, RECOMPUTED // 4), (3, RECOMPUTED // 4), (2, RECOMPUTED // 2)):
        sample += pick.sample([row for row in rows if row.model_version == number], count)
    assert len(sample) == RECOMPUTED
    for number in (1, 2, 3):
        mine = [row for row in sample if row.model_version == number]
        others = [row for row in sample if row.model_version != number]
        with Classifier.load(f"swap:{number}", settings=cluster.python_settings()) as again:
            assert {row.engine for row in mine} == {again.engine}
            assert all(agrees(again, mine))
            assert sum(agrees(again, others)) <= len(others) / 50


def agrees(classifier: Classifier, rows: Sequence[Any]) -> list[bool]:
    """Return whether each row's label is the best, or hardly worse than it."""
    logits = classifier.logits([row.text for row in rows])
    given = [list(classifier.labels).index(row.label) for row in rows]
    return [
        bool(of_row.max() - of_row[label] < CLOSE)
        for of_row, label in zip(logits, given, strict=True)
    ]
