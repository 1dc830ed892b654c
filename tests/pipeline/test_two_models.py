"""One worker serves two models from one database, their jobs interleaved, every row right."""

import json
from itertools import pairwise
from pathlib import Path

import pytest

from db.registry.names import parse_ref
from db.registry.versions import resolve
from tests.cluster import Cluster, wait_until
from tests.foreign_models import plain_classifier, some_texts
from tests.pipeline.made_versions import merged
from tests.training.moods import said
from worker import Classifier

#: Rows of each job, and rows a chunk.
ROWS, CHUNK_ROWS = 320, 16

#: Chunks of a job that may be open at once.
MAX_OPEN = 4

#: Two logits that are nearer than this may come out in another order in another micro-batch.
CLOSE = 0.001


@pytest.fixture
def both(cluster: Cluster, tmp_path: Path) -> Cluster:
    """A deployment that has `tone`, of 2 labels, beside the starter of 6, and no worker yet."""
    said(
        tmp_path / "home", "register",
        plain_classifier(tmp_path / "tone", labels=("bad", "good"), seed=3),
        "--model", "tone", database_url=cluster.settings["LABELSTREAM_DATABASE_URL"],
        registry_dir=cluster.settings["LABELSTREAM_REGISTRY_DIR"],
    )  # fmt: skip
    merged(cluster, resolve(cluster.store, parse_ref("tone:1")))
    return cluster


def write_texts(path: Path, texts: list[str]) -> Path:
    path.write_text("text\n" + "".join(f"{text}\n" for text in texts))
    return path


def test_two_models_jobs_interleaved_every_row_right(both: Cluster, tmp_path: Path) -> None:
    texts = {"emotion": some_texts(ROWS, 1), "tone": some_texts(ROWS, 2)}
    producers = {
        model: both.start_producer(
            "ingest", write_texts(tmp_path / f"{model}.csv", texts[model]), "--model", model,
            "--no-wait", "--json", "--chunk-rows", str(CHUNK_ROWS), "--max-queued", str(MAX_OPEN),
        )
        for model in texts
    }  # fmt: skip
    # Each producer waits for room by now, so that from here on the chunks of both come by turns.
    entered = "SELECT count(*) FROM chunks GROUP BY job_id"
    both_wait = [(MAX_OPEN,), (MAX_OPEN,)]
    wait_until(lambda: list(map(tuple, both.rows(entered))) == both_wait, 60, "both have begun")
    both.start_worker()
    jobs = {}
    for model, producer in producers.items():
        out, err = producer.communicate(timeout=120)
        assert producer.returncode == 0, err
        jobs[model] = json.loads(out)["job"]
    done = "SELECT count(*) FROM jobs WHERE state = 'done'"
    wait_until(lambda: both.value(done) == 2, 180, "both jobs are done")

    # One worker took chunks of the one and of the other by turns.
    assert len(both.rows("SELECT DISTINCT worker FROM chunks WHERE labeled > 0")) == 1
    order = [
        row.job_id
        for row in both.rows(
            "SELECT job_id, min(labeled_at) AS at FROM labeled_texts"
            " GROUP BY job_id, (row_number - 1) / :size ORDER BY at",
            size=CHUNK_ROWS,
        )
    ]
    assert len(order) == 2 * ROWS / CHUNK_ROWS
    assert sum(one != next_ for one, next_ in pairwise(order)) > 4

    query = (
        "SELECT text, label, model, model_version, engine FROM labeled_texts"
        " WHERE job_id = :job ORDER BY row_number"
    )
    for model, job in jobs.items():
        rows = both.rows(query, job=job)
        assert [row.text for row in rows] == texts[model]
        recorded = {(row.model, row.model_version, row.engine) for row in rows}
        assert recorded == {(model, 1, "torch")}
        with Classifier.load(f"{model}:1", settings=both.python_settings()) as again:
            logits = again.logits(texts[model])
            names = list(again.labels)
        assert len({row.label for row in rows}) > 1
        for row, of_row in zip(rows, logits, strict=True):
            assert of_row.max() - of_row[names.index(row.label)] < CLOSE, (model, row.text)
    # Each was loaded once, and neither made the other leave.
    assert both.logs().count("loaded on cpu with engine torch") == 2
    assert "leaves the memory" not in both.logs()
