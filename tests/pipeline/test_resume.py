"""`producer resume`: a job goes on where it stopped, by its own options, or one line says why not."""

import json
import signal
from pathlib import Path

import pytest
from sqlalchemy import update

from db.schema import Chunk, Job
from producer.ingest import job_options
from producer.request import IngestRequest
from producer.rows import ReadOptions
from tests.cluster import Cluster, wait_until
from tests.pipeline.streaming import Streaming
from tests.pipeline.test_standard_input import newest, rows

ROWS = 200


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.csv"
    path.write_text("n;what\n" + "".join(f"{n};text {n}\n" for n in range(1, ROWS + 1)))
    return path


def entered(cluster: Cluster) -> int:
    job = newest(cluster)
    found = cluster.value("SELECT sum(row_count) FROM chunks WHERE job_id = :job", job=job)
    return int(found or 0)


def leave(cluster: Cluster, *arguments: str | Path, how: signal.Signals = signal.SIGKILL) -> int:
    """Begin a job on a queue that nobody serves, stop it after twenty rows, and return it."""
    producer = Streaming(
        cluster, "ingest", *arguments, "--chunk-rows", "10", "--max-queued", "2", "--queue", "later"
    )
    wait_until(lambda: entered(cluster) == 20, 90, f"20 rows, {producer.said}")
    job = newest(cluster)
    producer.end(how)
    return job


def serve(cluster: Cluster, job: int) -> None:
    """Move a job to the queue that the worker serves."""
    with cluster.store.write() as connection:
        connection.execute(update(Job).where(Job.id == job).values(queue="labelstream"))
        connection.execute(
            update(Chunk).where(Chunk.job_id == job).values(queue="labelstream", sent_at=None)
        )


def test_a_killed_job_is_resumed_by_its_own_options_and_nothing_is_read_twice(
    hashing: Cluster, few: Path
) -> None:
    columns = ("--text-column", "what", "--id-column", "n", "--id-scope", "mine")
    job = leave(hashing, few, *columns, "--no-store-text")
    serve(hashing, job)
    resumed = hashing.producer("resume", str(job), "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert f"continuing job {job} after row 20" in resumed.stderr
    result = json.loads(resumed.stdout)
    assert (result["state"], result["rows"], result["labeled"]) == ("done", ROWS, ROWS)
    found = hashing.rows(
        "SELECT external_id, text, id_scope FROM labeled_texts WHERE job_id = :job"
        " ORDER BY row_number",
        job=job,
    )
    assert [tuple(row) for row in found] == [(str(n), None, "mine") for n in range(1, ROWS + 1)]
    assert hashing.value("SELECT count(*) FROM chunks WHERE job_id = :job", job=job) == 20


def test_what_cannot_be_resumed_is_told_in_one_line(hashing: Cluster, few: Path) -> None:
    def refused(job: int) -> str:
        done = hashing.producer("resume", str(job), "--no-wait")
        assert done.returncode == 2
        assert "Traceback" not in done.stderr
        return str(done.stderr.splitlines()[-1])

    job = leave(hashing, few, how=signal.SIGTERM)
    few.write_text(few.read_text() + "one more\n")
    assert f"the source of job {job} has changed since it began" in refused(job)
    few.unlink()
    assert "does not exist; check the path" in refused(job)
    assert hashing.producer("cancel", str(job)).returncode == 0
    assert f"job {job} is cancelled and cannot go on" in refused(job)
    assert hashing.producer("purge", str(job), "--yes").returncode == 0
    assert f"job {job} is purged and cannot go on" in refused(job)
    few.write_text("text\nhello\n")
    done = hashing.ingest(few)
    assert f"job {done['job']} is done" in refused(done["job"])
    assert "there is no job 999" in refused(999)


def test_a_relabel_is_resumed_too(hashing: Cluster, few: Path) -> None:
    parent = hashing.ingest(few, "--text-column", "what")["job"]
    producer = Streaming(
        hashing,
        *("relabel", str(parent), "--model", "emotion:1", "--queue", "later"),
        *("--chunk-rows", "10", "--max-queued", "2"),
    )
    wait_until(lambda: newest(hashing) != parent and entered(hashing) == 20, 90, "20 rows")
    job = newest(hashing)
    producer.kill()
    serve(hashing, job)
    resumed = hashing.producer("resume", str(job), "--wait", "--json")
    assert resumed.returncode == 0, resumed.stderr
    assert rows(hashing, job) == [(n, f"text {n}") for n in range(1, ROWS + 1)]


def test_a_source_with_credentials_is_not_kept() -> None:
    request = IngestRequest(sources=("x",), model="emotion", read=ReadOptions())
    kept = [
        job_options(request, request.read, [source])["sources"]
        for source in (
            "/data/rows.csv",
            "https://host/rows.csv?page=1",
            "https://me:secret@host/rows.csv",
            "https://host/rows.csv?token=secret",
            "/data/caf\udce9.csv",
        )
    ]
    assert kept == [["/data/rows.csv"], ["https://host/rows.csv?page=1"], None, None, None]
