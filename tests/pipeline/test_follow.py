"""`producer ingest --follow`: a growing file through kills, stops and rotations, every row once."""

import signal
from pathlib import Path

import pytest

from tests.cluster import Cluster, wait_until
from tests.pipeline.streaming import Streaming
from tests.pipeline.test_standard_input import newest, rows
from tests.producer.followed import append, numbered, rotate


def lines(first: int, last: int) -> list[tuple[int, str]]:
    return [(number, f"line {number}") for number in range(first, last + 1)]


def test_a_file_is_followed_through_a_kill_a_stop_and_rotations(
    hashing: Cluster, tmp_path: Path
) -> None:
    log = tmp_path / "app.log"
    append(log, *numbered(1, 2))
    command = ("ingest", log, "--follow", "--wait", "--json")
    first = Streaming(hashing, *command)
    job = first.wait_for_rows(2)
    append(log, "line 3")
    first.wait_for_rows(3)
    rotate(log)
    append(log, "line 4")
    first.wait_for_rows(4)

    refused = hashing.producer("resume", str(job))
    assert refused.returncode == 2
    assert f"job {job} is being read by producer" in refused.stderr
    again = hashing.producer("ingest", log, "--follow", "--again")
    assert again.returncode == 2
    assert f"job {job} is running on the same rows, so --again must wait" in again.stderr

    first.kill()
    append(log, "line 5")
    rotate(log)
    append(log, "line 6")
    append(log, "line 7, whi", end="")
    second = Streaming(hashing, *command)
    second.wait_until_said(f"continuing job {job} after row 4")
    second.wait_for_rows(6)
    assert second.end(signal.SIGTERM) == 0, second.said
    assert f"producer resume {job}" in second.said
    result = second.result()
    assert (result["job"], result["state"], result["rows"]) == (job, "running", result["labeled"])
    append(log, "ch is long")
    rotate(log)
    append(log, "line 8")
    third = Streaming(hashing, "resume", str(job), "--wait", "--json")
    third.wait_for_rows(8)
    assert third.end(signal.SIGINT) == 0, third.said
    assert rows(hashing, job) == [*lines(1, 6), (7, "line 7, which is long"), (8, "line 8")]
    assert third.result()["labels"] == hashing_labels(hashing, job)
    assert "may have been missed" not in first.said + second.said + third.said

    anew = Streaming(hashing, *command, "--again")
    wait_until(lambda: rows(hashing, newest(hashing)) == [(1, "line 8")], 90, "read from its start")
    assert f"job {job} ends with the rows that it has; a new job reads from the start" in anew.said
    assert anew.end(signal.SIGTERM) == 0
    assert hashing.value("SELECT state FROM jobs WHERE id = :job", job=job) == "done"


def hashing_labels(cluster: Cluster, job: int) -> dict[str, int]:
    found = cluster.rows(
        "SELECT label, count(*) FROM labeled_texts WHERE job_id = :job GROUP BY label", job=job
    )
    return {row[0]: row[1] for row in found}


def test_a_limit_ends_it(hashing: Cluster, tmp_path: Path) -> None:
    log = tmp_path / "app.log"
    append(log, *numbered(1, 2))
    follow = Streaming(hashing, "ingest", log, "--follow", "--limit", "3", "--wait", "--json")
    job = follow.wait_for_rows(2)
    append(log, *numbered(3, 5))
    assert follow.end() == 0, follow.said
    assert follow.result()["state"] == "done"
    assert rows(hashing, job) == lines(1, 3)
    same = hashing.producer("ingest", log, "--follow", "--limit", "3")
    assert f"job {job} has these rows already" in same.stderr


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("folder", [], "is a folder; --follow reads one file in it"),
        ("a.csv", ["--text-column", "body"], "has no column 'body'"),
        ("a.csv", ["--max-wait", "inf"], "--max-wait inf is no number of seconds"),
    ],
)
def test_what_cannot_be_followed_is_one_line_and_makes_no_job(
    hashing: Cluster, name: str, options: list[str], says: str
) -> None:
    (hashing.folder / "folder").mkdir(exist_ok=True)
    (hashing.folder / "a.csv").write_text("id,text\n1,hello\n")
    before = hashing.value("SELECT count(*) FROM jobs")
    done = hashing.producer("ingest", "--follow", name, *options)
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line.startswith("error: ")
    assert says in line
    assert hashing.value("SELECT count(*) FROM jobs") == before
