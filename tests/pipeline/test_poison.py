"""A row that its worker does not survive: that row is rejected, and every other one is labelled."""

import json
import os
import random
import signal
import subprocess
import sys
import time
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from db.ledger.dividing import REASON
from db.ledger.workers import WorkerRecord, record_worker
from db.store import Store
from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.db.ledger_parts import add, begin, held
from tests.pipeline.test_deaths import LABELS

#: What makes an engine that cannot bear some rows of the one that can: see sitecustomize.py there.
HOOKS = Path(__file__).with_name("poison")

POISONED: Mapping[str, str] = {
    "PYTHONPATH": os.pathsep.join([str(HOOKS), *filter(None, [os.environ.get("PYTHONPATH")])]),
    "LABELSTREAM_ENGINE": "text-hash",
    # So that healthy chunks are under way while a poisoned one is divided.
    "LABELSTREAM_ENGINE_PACE": "0.02",
    # A call that hangs need not hang for a minute.
    "LABELSTREAM_MICRO_BATCH_LIMIT": "3",
}

ROWS = 300

REASONS = {"raise": "engine error: RuntimeError", "abort": REASON, "hang": REASON}


def source(folder: Path, poison: Mapping[int, str]) -> Path:
    """Write the rows; those numbered in `poison` do to the engine what is said there."""
    path = folder / "rows.csv"
    rows = [
        f"poison {poison[n]}" if n in poison else f"text number {n}" for n in range(1, ROWS + 1)
    ]
    path.write_text("\n".join(["text", *rows]) + "\n")
    return path


def check_every_row(store: Store, poison: Mapping[int, str]) -> None:
    with store.read() as connection:
        rejects = connection.exec_driver_sql(
            "SELECT row_number, reason, raw FROM rejects ORDER BY row_number"
        ).all()
        labeled = connection.exec_driver_sql(
            "SELECT row_number, text, label FROM labeled_texts ORDER BY row_number"
        ).all()
    assert [tuple(row) for row in rejects] == [
        (n, REASONS[kind], f"poison {kind}") for n, kind in sorted(poison.items())
    ]
    assert [row.row_number for row in labeled] == [n for n in range(1, ROWS + 1) if n not in poison]
    for row in labeled:
        assert row.text == f"text number {row.row_number}"
        assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
    assert values(store, "SELECT state FROM jobs") == ["done"]
    assert set(values(store, "SELECT state FROM chunks")) <= {"done", "split"}


def values(store: Store, query: str) -> list[Any]:
    with store.read() as connection:
        return list(connection.exec_driver_sql(query).scalars())


def ancestry(store: Store) -> list[Any]:
    """Return the chunks that had the row which was charged twice, the first one first."""
    with store.read() as connection:
        chunks = {row.number: row for row in connection.exec_driver_sql("SELECT * FROM chunks")}
    (last,) = (chunk for chunk in chunks.values() if chunk.strikes == 2)
    line = [last]
    while line[0].parent_number is not None:
        line.insert(0, chunks[line[0].parent_number])
    return line


@pytest.mark.parametrize(
    ("poison", "chunk_rows", "strikes"),
    [
        # Alone with four rows and with two, and twice by itself; before that, beside others.
        ({118: "abort", 203: "raise"}, 4, [1, 1, 2]),
        ({118: "hang"}, 2, [1, 2]),
    ],
    ids=["aborts or raises", "hangs"],
)
def test_under_the_embedded_supervisor_only_the_row_that_ends_its_worker_is_rejected(
    tmp_path: Path, poison: Mapping[int, str], chunk_rows: int, strikes: list[int]
) -> None:
    path = source(tmp_path, poison)
    # Few chunks at once, so that healthy ones come between a poisoned one and its halves.
    options = ("--chunk-rows", str(chunk_rows), "--max-queued", "8", "--json")
    started = time.monotonic()
    done = subprocess.run(
        [BIN / "producer", "ingest", path, *options],
        cwd=tmp_path,
        env=clean_environment(**POISONED),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )
    seconds = time.monotonic() - started
    home = tmp_path / ".labelstream"
    log = (home / "logs" / "worker.log").read_text()
    assert done.returncode == 0, done.stderr + log[-3000:]
    print(f"\nrows that {' and '.join(poison.values())}: {seconds:.1f} s")
    result = json.loads(done.stdout)
    counts = (result["rows"], result["labeled"], result["rejected"])
    assert counts == (ROWS, ROWS - len(poison), len(poison))
    store = Store(f"sqlite:///{home / 'labelstream.db'}")
    try:
        check_every_row(store, poison)
        found = ancestry(store)
        assert [chunk.strikes for chunk in found] == strikes
        assert {chunk.last_error for chunk in found} == {"its process is gone"}
        beside = (
            "SELECT count(*) FROM chunks WHERE labeled > 0"
            " AND done_at > (SELECT min(claimed_at) FROM chunks WHERE state = 'split')"
            " AND done_at < (SELECT max(done_at) FROM chunks WHERE strikes = 2)"
        )
        assert values(store, beside)[0] > 0, "healthy chunks were closed meanwhile"
    finally:
        store.close()


@pytest.mark.parametrize("starter_url", ["sqlite"], indirect=True)
def test_a_worker_takes_back_what_a_dead_one_held_before_it_loads_its_model(
    cluster: Cluster,
) -> None:
    job = begin(cluster.store)
    number = add(job, 1, 4)
    held(cluster.store, job.job, number, "dead")
    code = "from db.processes import own_name; print(own_name())"
    dead = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout.strip()
    record_worker(cluster.store, WorkerRecord("dead", [], "", "", [], dead))
    worker = cluster.start_worker(wait=False, LABELSTREAM_MODEL="nowhere@production")
    assert worker.wait(120) == 2, "it has no model to load"
    assert "its process is gone: job 1 chunk 1" in cluster.logs()
    assert cluster.value("SELECT state FROM chunks") == "queued"
    assert cluster.value("SELECT sent_at FROM chunks") is not None


@pytest.mark.parametrize("starter_url", ["postgresql"], indirect=True)
def test_while_workers_are_killed_at_random_only_the_poison_is_rejected(cluster: Cluster) -> None:
    poison = {118: "abort"}
    path = source(cluster.folder, poison)
    chance = random.Random(4)
    kills = 4
    next_kill = 0.0
    workers = [cluster.start_worker(wait=False, **POISONED) for _ in range(2)]
    started = time.monotonic()
    job = cluster.start_producer(
        *("ingest", path, "--chunk-rows", "4", "--max-queued", "16", "--wait")
    )

    def tended() -> bool:
        """Start again who has died, and kill somebody who holds a chunk from time to time."""
        nonlocal kills, next_kill
        for place, worker in enumerate(workers):
            if worker.poll() is not None:
                workers[place] = cluster.start_worker(wait=False, **POISONED)
        if kills and time.monotonic() > next_kill:
            held = "SELECT DISTINCT worker FROM chunks WHERE state = 'leased'"
            holders = [name.rpartition("/")[2] for name in values(cluster.store, held)]
            victims = [worker for worker in workers if str(worker.pid) in holders]
            if victims:
                victim = chance.choice(victims)
                victim.send_signal(signal.SIGKILL)
                # One that the poison ended meanwhile was not killed.
                kills -= victim.wait(30) == -signal.SIGKILL
                next_kill = time.monotonic() + chance.uniform(1, 4)
        return job.poll() is not None

    wait_until(tended, 240, "the job ends")
    seconds = time.monotonic() - started
    _, err = job.communicate()
    assert job.returncode == 0, err + cluster.logs()[-3000:]
    check_every_row(cluster.store, poison)
    assert kills == 0
    ended = [worker.returncode for worker in cluster.processes if worker.poll() is not None]
    assert ended.count(-signal.SIGKILL) == 4
    assert ended.count(-signal.SIGABRT) >= 4, (
        "the poison was alone with four rows, two, one and one"
    )
    print(f"\n4 workers killed at random beside a row that aborts: {seconds:.1f} s")
