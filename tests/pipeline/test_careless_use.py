"""What people write by mistake, or ask for twice: told in a line, and nothing is mixed up."""

import json
from pathlib import Path

import pytest

from tests.cluster import Cluster

HUGE = "9" * 30

UNUSABLE: list[tuple[tuple[str, ...], str]] = [
    (("--limit", "0"), "--limit"),
    (("--limit", "-5"), "--limit"),
    (("--chunk-rows", "0"), "--chunk-rows"),
    (("--chunk-rows", "10001"), "--chunk-rows"),
    (("--max-queued", "0"), "--max-queued"),
    (("--max-rejects", "few"), "--max-rejects 'few' is neither a number nor a share such as 5%"),
    (("--max-rejects", "-1"), "--max-rejects"),
    (("--format", "xlsx"), "--format"),
    (("--delimiter", ";;"), "--delimiter"),
    (("--encoding", "klingon"), "unknown encoding 'klingon'"),
    (("--job-key", ""), "--job-key is empty"),
    (("--queue", " "), "--queue is empty"),
    (("--queue", "urgent,bulk"), "--queue 'urgent,bulk' has a comma; give the name of one queue"),
    (("--model", "nosuch"), "there is no model nosuch@production; there are"),
    (("--model", "emotion:99"), "there is no model emotion:99"),
    (("--model", "emotion@nosuch"), "there is no model emotion@nosuch"),
    (("--model", "emotion:0"), "'emotion:0' names no model"),
    (("--model", f"emotion:{HUGE}"), "names no model"),
    (("--bogus",), "--bogus"),
]


@pytest.fixture
def few(tmp_path: Path) -> Path:
    path = tmp_path / "few.csv"
    path.write_text("id,text\n1,hello\n2,\n3,world\n")
    return path


@pytest.mark.parametrize(("options", "says"), UNUSABLE, ids=lambda value: str(value)[:40])
def test_what_cannot_be_meant_is_one_line_and_status_2(
    hashing: Cluster, few: Path, options: tuple[str, ...], says: str
) -> None:
    before = hashing.value("SELECT count(*) FROM jobs")
    done = hashing.producer("ingest", few, "--json", *options)
    assert (done.returncode, done.stdout) == (2, "")
    last = done.stderr.splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert "Traceback" not in done.stderr
    assert hashing.value("SELECT count(*) FROM jobs") == before


def test_numbers_too_large_for_a_database_are_as_good_as_any(hashing: Cluster, few: Path) -> None:
    result = hashing.ingest(few, "--limit", HUGE, "--max-queued", HUGE, "--max-rejects", HUGE)
    assert (result["rows"], result["labeled"], result["rejected"]) == (3, 2, 1)


def test_a_key_that_another_file_has_is_said_and_its_rows_are_not_mixed(
    hashing: Cluster, few: Path, tmp_path: Path
) -> None:
    first = hashing.ingest(few, "--job-key", "nightly")
    other = tmp_path / "other.csv"
    other.write_text("id,text\n1,something else\n")
    second = hashing.producer("ingest", other, "--wait", "--json", "--job-key", "nightly")
    assert second.returncode == 0
    assert json.loads(second.stdout)["job"] == first["job"]
    assert f"job {first['job']} has the key 'nightly' already, but labelled other rows" in (
        second.stderr
    )
    # The same file under the same key is told as without one.
    again = hashing.producer("ingest", few, "--wait", "--job-key", "nightly")
    assert f"job {first['job']} has these rows already" in again.stderr


def test_a_run_without_one_good_row_fails_again_when_it_is_asked_for_again(
    hashing: Cluster, tmp_path: Path
) -> None:
    path = tmp_path / "blank.csv"
    path.write_text("id,text\n1,\n2,\n")
    ends = [hashing.producer("ingest", path, "--wait", "--json") for _ in range(2)]
    assert [done.returncode for done in ends] == [1, 1]
    jobs = {json.loads(done.stdout)["job"] for done in ends}
    assert len(jobs) == 1
    assert f"job {jobs.pop()} has these rows already" in ends[1].stderr
    assert "every row was rejected (2)" in ends[1].stderr.splitlines()[-1]


DRY_RUNS = [
    ("id,text\n1,a\n2,\n3,b\n", (), (3, 1), None),
    ("id,text\n1,a\n2,\n3,b\n", ("--max-rejects", "0"), (3, 1), "more than --max-rejects 0"),
    ("id,text\n1,\n2,\n", (), (2, 2), "every row was rejected (2)"),
]


@pytest.mark.parametrize(("content", "options", "counts", "error"), DRY_RUNS)
def test_a_dry_run_tells_how_the_job_would_end(
    hashing: Cluster,
    tmp_path: Path,
    content: str,
    options: tuple[str, ...],
    counts: tuple[int, int],
    error: str | None,
) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(content)
    done = hashing.producer("ingest", path, "--dry-run", "--json", *options)
    assert done.returncode == (1 if error else 0), done.stderr
    found = json.loads(done.stdout)
    assert (found["rows"], found["rejected"]) == counts
    if error is None:
        assert found["error"] is None
    else:
        assert error in found["error"]
        assert done.stderr.splitlines()[-1].startswith("error: the job would fail: ")
