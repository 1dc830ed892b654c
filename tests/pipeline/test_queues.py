"""Queues: a backfill without end does not hold up the urgent file."""

import json
from pathlib import Path

import pytest

from tests.cluster import Cluster, wait_until

BACKFILL_ROWS = 60_000
URGENT_ROWS = 300


def write(path: Path, rows: int) -> Path:
    path.write_text("text\n" + "".join(f"{path.stem} {number}\n" for number in range(rows)))
    return path


@pytest.mark.parametrize(
    "queues", [["slow", "fast"], ["backfill,urgent"]], ids=["a worker each", "one worker"]
)
def test_a_backfill_does_not_hold_up_the_urgent_file(
    module_cluster: Cluster, tmp_path: Path, queues: list[str]
) -> None:
    cluster = module_cluster
    for names in queues:
        cluster.start_worker("-Q", names, LABELSTREAM_ENGINE="fixed-time")
    slow, fast = ",".join(queues).split(",")
    backfill = write(tmp_path / "backfill.csv", BACKFILL_ROWS)
    long = cluster.start_producer("ingest", backfill, "--queue", slow, "--wait")
    # All that may wait does wait, and the worker is busy with it.
    waiting = (
        "SELECT coalesce(sum(row_count), 0) FROM chunks WHERE queue = :queue AND state = :state"
    )
    wait_until(
        lambda: (
            cluster.value(waiting, queue=slow, state="done") > 0
            and cluster.value(waiting, queue=slow, state="queued") > 15_000
        ),
        60,
        "the backfill fills its queue",
    )
    urgent = write(tmp_path / "urgent.csv", URGENT_ROWS)
    done = cluster.producer("ingest", urgent, "--queue", fast, "--wait", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["state"], found["labeled"]) == ("done", URGENT_ROWS)
    before = cluster.value(
        "SELECT sum(row_count) FROM chunks WHERE queue = :slow AND state = 'queued' AND queued_at < "
        "(SELECT min(queued_at) FROM chunks WHERE queue = :fast)",
        slow=slow,
        fast=fast,
    )
    assert before > 5_000, "rows that came before the urgent ones still wait"
    assert long.poll() is None
    job = cluster.value("SELECT id FROM jobs WHERE queue = :slow", slow=slow)
    assert cluster.producer("cancel", str(job)).returncode == 0
    long.communicate(timeout=60)


def test_a_queue_that_nobody_serves_is_said(module_cluster: Cluster, tmp_path: Path) -> None:
    cluster = module_cluster
    few = write(tmp_path / "few.csv", 10)
    waiting = cluster.start_producer("ingest", few, "--queue", "nightly", "--wait")
    assert waiting.stderr is not None
    said = ""
    while "no worker serves" not in said:
        line = waiting.stderr.readline()
        assert line, f"the producer ended: {said}"
        said += line
    advice = "no worker serves the queue nightly; start one: celery -A worker worker -Q nightly"
    assert advice in said
    labeled = "SELECT sum(labeled) FROM chunks WHERE queue = 'nightly'"
    assert cluster.value(labeled) == 0
    cluster.start_worker("-Q", "nightly", LABELSTREAM_ENGINE="constant")
    _, err = waiting.communicate(timeout=60)
    assert waiting.returncode == 0, err
    assert cluster.value(labeled) == 10
