"""What dies in the middle of a job, and that every row is there afterwards."""

import os
import shutil
import signal
import subprocess
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.cluster import Cluster, wait_until

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")
ROWS = 3000


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "many.csv"
    path.write_text("text\n" + "".join(f"text number {n}\n" for n in range(1, ROWS + 1)))
    return path


def check_every_row(cluster: Cluster) -> None:
    rows = cluster.rows(
        "SELECT row_number, text, label, engine FROM labeled_texts ORDER BY row_number"
    )
    assert [row.row_number for row in rows] == list(range(1, ROWS + 1))
    assert [row.text for row in rows] == [f"text number {n}" for n in range(1, ROWS + 1)]
    for row in rows:
        if row.engine == "text-hash":
            assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
    assert (
        cluster.value("SELECT sum(labeled + rejected_parsed + rejected_worker) FROM chunks") == ROWS
    )
    assert cluster.value("SELECT state FROM jobs") == "done"


def test_a_killed_worker_loses_no_row(cluster: Cluster, many: Path) -> None:
    victim = cluster.start_worker(LABELSTREAM_ENGINE="fixed-time")
    job = cluster.start_producer("ingest", many, "--wait")
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM chunks WHERE state = 'leased'"), 60, "leases"
    )
    os.kill(victim.pid, signal.SIGKILL)
    victim.wait(timeout=10)
    held = cluster.value("SELECT count(*) FROM chunks WHERE state = 'leased'")
    assert held > 0, "the victim held a lease"
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    _, err = job.communicate(timeout=60)
    assert job.returncode == 0, err
    assert cluster.value("SELECT count(*) FROM chunks WHERE claims > 1") >= held
    check_every_row(cluster)


def test_messages_that_redis_lost_are_sent_again(cluster: Cluster, many: Path) -> None:
    job = cluster.start_producer("ingest", many, "--wait", "--max-queued", "100")
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM jobs WHERE source_exhausted"), 60, "all is read"
    )
    server = redis.Redis.from_url(cluster.settings["LABELSTREAM_BROKER_URL"])
    # 3,000 rows are 12 chunks. A chunk whose sending is not yet written down may be sent twice.
    assert server.llen("labelstream") >= 12
    server.flushdb()
    server.close()
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    _, err = job.communicate(timeout=90)
    assert job.returncode == 0, err
    check_every_row(cluster)


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 6 MB of its own; only root may mount one."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=6m", "labelstream-test", str(folder)]
    if (
        os.geteuid()
        or shutil.which("mount") is None
        or subprocess.run(mount, check=False).returncode
    ):
        pytest.skip("a file system of our own cannot be mounted here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_a_full_disk_loses_nothing(
    small_disk: Path, tmp_path: Path, redis_url: str, registry: Path
) -> None:
    path = tmp_path / "rows.csv"
    text = "a text of about a hundred characters so that six megabytes are full before long " * 2
    rows = 20_000
    path.write_text("text\n" + "".join(f"{n} {text}\n" for n in range(rows)))
    cluster = Cluster(tmp_path, redis_url, f"sqlite:///{small_disk / 'store.db'}", registry)
    try:
        cluster.start_worker(LABELSTREAM_ENGINE="constant")
        job = cluster.start_producer("ingest", path, "--wait", "--json")
        wait_until(lambda: shutil.disk_usage(small_disk).free == 0, 90, "the disk is full")
        time.sleep(5)
        assert job.poll() is None, "the producer waits"
        assert cluster.value("SELECT count(*) FROM labeled_texts") < rows
        grow = ["mount", "-o", "remount,size=200m", str(small_disk)]
        subprocess.run(grow, check=True)
        _, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
        said = err + cluster.logs()
        assert "SQLITE_FULL; trying again" in said, "whoever met the full disk says so"
        assert said.count("trying again") <= 8, "once for each step, not at every try"
        assert cluster.value("SELECT count(*) FROM labeled_texts") == rows
        assert cluster.value("SELECT sum(labeled) FROM chunks") == rows
    finally:
        cluster.stop()
