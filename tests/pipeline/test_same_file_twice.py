"""A second call for the same rows does no work; an interrupted first one is gone on with."""

import json
import re
import signal
from pathlib import Path

import pytest

from tests.cluster import Cluster, wait_until


@pytest.fixture
def many(tmp_path: Path) -> Path:
    path = tmp_path / "many.csv"
    path.write_text("id,text\n" + "".join(f"{n},text number {n}\n" for n in range(1, 5001)))
    return path


def test_a_second_call_does_no_work_and_names_the_job(cluster: Cluster, many: Path) -> None:
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    first = cluster.ingest(many)
    second = cluster.producer("ingest", many, "--wait", "--json")
    assert second.returncode == 0
    assert json.loads(second.stdout)["job"] == first["job"]
    assert f"job {first['job']} has these rows already" in second.stderr
    assert cluster.value("SELECT count(*) FROM jobs") == 1
    assert cluster.value("SELECT max(claims) FROM chunks") == 1


def test_again_makes_a_new_job_and_so_does_a_changed_file(cluster: Cluster, many: Path) -> None:
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    first = cluster.ingest(many)
    again = cluster.ingest(many, "--again")
    assert again["job"] != first["job"]
    assert again["rows"] == 5000
    many.write_text(many.read_text() + "5001,one more\n")
    changed = cluster.ingest(many)
    assert changed["job"] not in (first["job"], again["job"])
    assert changed["rows"] == 5001
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 15001


@pytest.mark.parametrize(
    ("how", "options"),
    [
        (signal.SIGINT, ()),
        (signal.SIGTERM, ("--job-key", "mine")),
        # Its rows are not labelled yet, so --again asks for nothing else.
        (signal.SIGKILL, ("--again",)),
    ],
)
def test_an_interrupted_run_is_continued(
    cluster: Cluster, many: Path, how: signal.Signals, options: tuple[str, ...]
) -> None:
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    first = cluster.start_producer(
        "ingest", many, "--wait", "--chunk-rows", "16", "--max-queued", "2", *options
    )
    wait_until(
        lambda: cluster.value("SELECT count(*) FROM chunks") >= 10, 60, "ten chunks are entered"
    )
    first.send_signal(how)
    first.communicate(timeout=30)
    assert first.returncode != 0
    job = cluster.rows("SELECT state, source_exhausted FROM jobs")[0]
    assert job.state == "running"
    assert not job.source_exhausted, "it was killed in mid-file"
    entered = cluster.value("SELECT sum(row_count) FROM chunks")
    assert entered < 5000
    if "--job-key" in options:
        other = many.with_name("other.csv")
        other.write_text("id,text\n" + "7,another text\n" * 5000)
        refused = cluster.producer("ingest", other, "--wait", *options)
        assert refused.returncode == 2
        assert "job 1 has the key 'mine' and is not done, but reads other rows" in refused.stderr
        assert cluster.value("SELECT sum(row_count) FROM chunks") == entered
    second = cluster.producer("ingest", many, "--wait", "--json", *options)
    assert second.returncode == 0, second.stderr
    assert "continuing job 1 after row" in second.stderr
    result = json.loads(second.stdout)
    assert (result["job"], result["rows"], result["labeled"]) == (1, 5000, 5000)
    texts = cluster.rows("SELECT text FROM labeled_texts ORDER BY row_number")
    assert [row.text for row in texts] == [f"text number {n}" for n in range(1, 5001)]


def test_of_two_calls_at_once_one_works_and_the_other_is_refused_by_name(
    cluster: Cluster, many: Path
) -> None:
    both = [
        cluster.start_producer("ingest", many, "--wait", "--json", "--limit", "5000")
        for _ in range(2)
    ]
    # No worker yet: however late the second comes, the job still runs.
    ended = lambda: any(process.poll() is not None for process in both)  # noqa: E731
    wait_until(ended, 60, "one of them is refused")
    cluster.start_worker(LABELSTREAM_ENGINE="constant")
    ends = [(*process.communicate(timeout=120), process.returncode) for process in both]
    assert sorted(code for _, _, code in ends) == [0, 2]
    refused = next(err for _, err, code in ends if code == 2)
    # PostgreSQL may have given a number to the one that came second.
    assert re.search(r"^error: job [12] is being read by producer", refused, re.MULTILINE)
    assert refused.strip().splitlines()[-1].count("error:") == 1
    assert cluster.value("SELECT count(*) FROM labeled_texts") == 5000


def test_again_is_refused_while_the_job_runs(cluster: Cluster, many: Path) -> None:
    first = cluster.start_producer("ingest", many, "--wait")
    wait_until(lambda: cluster.value("SELECT count(*) FROM jobs") == 1, 60, "the job exists")
    second = cluster.producer("ingest", many, "--wait", "--again")
    assert second.returncode == 2
    assert "job 1 is running on the same rows" in second.stderr
    first.kill()
