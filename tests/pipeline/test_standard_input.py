"""`producer ingest -`: what is piped in is labelled as it comes, and ends in one place."""

import gzip
import signal
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.cluster import BIN, Cluster, clean_environment, wait_until
from tests.pipeline.streaming import Streaming

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


def rows(cluster: Cluster, job: int) -> list[tuple[int, str]]:
    """Number and text of the labelled rows; every label is the one of its text."""
    found = cluster.rows(
        "SELECT row_number, text, label FROM labeled_texts WHERE job_id = :job ORDER BY 1", job=job
    )
    for row in found:
        assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
    return [(row.row_number, row.text) for row in found]


def rejects(cluster: Cluster, job: int) -> list[tuple[int, int, str]]:
    found = cluster.rows(
        "SELECT row_number, line, reason FROM rejects WHERE job_id = :job ORDER BY 1", job=job
    )
    return [tuple(row) for row in found]


def newest(cluster: Cluster) -> int:
    job: int = cluster.value("SELECT max(id) FROM jobs")
    return job


def piped(
    cluster: Cluster, content: bytes, *options: str | Path
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [BIN / "producer", "ingest", "-", "--wait", *map(str, options)],
        env=clean_environment(**cluster.settings),
        cwd=cluster.folder,
        input=content,
        capture_output=True,
        timeout=120,
        check=False,
    )


def test_a_slow_stream_begins_at_once_and_each_line_is_labelled_when_it_comes(
    hashing: Cluster,
) -> None:
    stream = Streaming(hashing, "ingest", "-", "--wait", "--json")
    stream.write("first\n")
    job = stream.wait_for_rows(1)
    stream.write("second\nthird")
    assert stream.wait_for_rows(2) == job
    assert hashing.value("SELECT state FROM jobs WHERE id = :job", job=job) == "running"
    assert hashing.value("SELECT stream FROM jobs WHERE id = :job", job=job) == "stdin"
    assert not hashing.value("SELECT continues FROM jobs WHERE id = :job", job=job)
    stream.close()
    assert stream.end() == 0, stream.said
    assert "standard input is read as plain text, a text a line" in stream.said
    result = stream.result()
    assert (result["state"], result["rows"], result["labeled"]) == ("done", 3, 3)
    assert rows(hashing, job) == [(1, "first"), (2, "second"), (3, "third")]


@pytest.mark.parametrize(
    ("content", "options", "says", "texts", "ids"),
    [
        (
            b'{"text": "one", "id": 7}\n\n{"id": 8, "text": "two"}\n',
            [],
            "JSON Lines",
            ["one", "two"],
            ["7", "8"],
        ),
        (
            b'n;what\n1;"one;\nor two"\n2;three\n',
            ["--text-column", "what", "--id-column", "n"],
            "CSV",
            ["one;\nor two", "three"],
            ["1", "2"],
        ),
        (b"text\tid\none\t1\n", ["--format", "tsv"], "TSV", ["one"], ["1"]),
        (b'{"a": 1}\nb\n', ["--format", "text"], "plain text", ['{"a": 1}', "b"], [None, None]),
        ("gr\xfc\xdfe\n".encode("utf-16"), [], "plain text", ["grüße"], [None]),
    ],
)
def test_what_it_is_is_told_by_its_first_lines_and_the_options(
    hashing: Cluster,
    content: bytes,
    options: list[str],
    says: str,
    texts: list[str],
    ids: list[str | None],
) -> None:
    done = piped(hashing, content, *options)
    assert done.returncode == 0, done.stderr
    assert f"standard input is read as {says}" in done.stderr.decode()
    job = newest(hashing)
    assert [text for _, text in rows(hashing, job)] == texts
    found = hashing.rows(
        "SELECT external_id FROM labeled_texts WHERE job_id = :job ORDER BY row_number", job=job
    )
    assert [row[0] for row in found] == ids


def test_bad_rows_are_rejects_at_their_lines(hashing: Cluster) -> None:
    done = piped(hashing, b"good\n\xff\xfe\nnul \0 nul\n\nlast\n")
    assert done.returncode == 0, done.stderr
    job = newest(hashing)
    assert rows(hashing, job) == [(1, "good"), (5, "last")]
    assert rejects(hashing, job) == [
        (2, 2, "invalid utf-8"),
        (3, 3, "NUL character"),
        (4, 4, "empty text"),
    ]


@pytest.mark.parametrize(
    ("content", "options", "says"),
    [
        (b"", [], "standard input is empty; there is nothing to label"),
        (b"\x89PNG\r\n\x1a\n" + bytes(200), [], "standard input is binary"),
        # Without the time, which would make another test of it in each process.
        (
            gzip.compress(b"hello\n", mtime=0),
            [],
            "unpack it on the way: zcat FILE | producer ingest -",
        ),
        (b"a,b\n1,2\n", ["--text-column", "c"], "has no column 'c'"),
        (b"hello\n", ["--dry-run"], "--dry-run reads a source to its end"),
        (b"hello\n", ["other.csv"], "standard input (-) is read alone"),
    ],
)
def test_what_cannot_be_read_is_one_line_and_makes_no_job(
    hashing: Cluster, content: bytes, options: list[str], says: str
) -> None:
    before = hashing.value("SELECT count(*) FROM jobs")
    done = piped(hashing, content, *options)
    assert done.returncode == 2
    last = done.stderr.decode().splitlines()[-1]
    assert last.startswith("error: ")
    assert says in last
    assert b"Traceback" not in done.stderr
    assert hashing.value("SELECT count(*) FROM jobs") == before


@pytest.mark.parametrize("redirection", ["<&-", "</dev/null"])
def test_a_standard_input_that_gives_nothing_is_one_line(
    hashing: Cluster, redirection: str
) -> None:
    done = subprocess.run(
        ["sh", "-c", f'exec "$0" ingest - {redirection}', str(BIN / "producer")],
        env=clean_environment(**hashing.settings),
        cwd=hashing.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 2
    (line,) = done.stderr.splitlines()
    assert line == "error: standard input is empty; there is nothing to label"


def test_a_signal_drains_and_a_line_that_has_begun_is_not_lost(hashing: Cluster) -> None:
    stream = Streaming(hashing, "ingest", "-", "--wait", "--json", "--max-wait", "3600")
    stream.write("one\ntwo\nhalf a li")
    stream.wait_until_said("standard input with emotion")
    assert stream.end(signal.SIGINT) == 0, stream.said
    result = stream.result()
    assert (result["state"], result["rows"], result["labeled"]) == ("done", 3, 3)
    assert rows(hashing, result["job"]) == [(1, "one"), (2, "two"), (3, "half a li")]


def test_a_second_signal_leaves_at_once_and_what_was_read_is_in_the_ledger(
    hashing: Cluster,
) -> None:
    # Nobody serves this queue, so that the first signal alone would wait.
    stream = Streaming(hashing, "ingest", "-", "--wait", "--queue", "nobody")
    stream.write("one\ntwo\n")
    job = stream.wait_for_rows(1, table="chunks")
    stream.write("three\n")
    stream.process.send_signal(signal.SIGTERM)
    stream.wait_until_said("no more is read")
    wait_until(
        lambda: hashing.value("SELECT source_exhausted FROM jobs WHERE id = :job", job=job),
        60,
        "all that was read is entered",
    )
    assert stream.process.poll() is None, "it waits for the labels"
    assert stream.end(signal.SIGTERM) == 130
    assert stream.said.rstrip().endswith("interrupted")
    assert hashing.value("SELECT sum(row_count) FROM chunks WHERE job_id = :job", job=job) == 3
    resumed = hashing.producer("resume", str(job), "--no-wait")
    assert resumed.returncode == 0, resumed.stderr
    assert "has all rows of its source" in resumed.stderr
    assert hashing.producer("cancel", str(job)).returncode == 0


def test_with_a_key_the_same_input_goes_on_where_it_was_stopped(
    hashing: Cluster, tmp_path: Path
) -> None:
    key = ("--job-key", "nightly")
    stream = Streaming(hashing, "ingest", "-", "--wait", "--json", *key)
    stream.write("one\ntwo\nhalf")
    job = stream.wait_for_rows(2)
    assert stream.end(signal.SIGTERM) == 0, stream.said
    assert f"producer resume {job}" in stream.said
    result = stream.result()
    assert (result["job"], result["state"], result["rows"]) == (job, "running", 2)
    assert result["labeled"] == 2

    short = piped(hashing, b"one\n", *key)
    assert short.returncode == 2
    assert b"ends before byte 8" in short.stderr
    changed = piped(hashing, b"one\ntoo\nthree\n", *key)
    assert changed.returncode == 2
    assert b"gives other rows than those that were read before" in changed.stderr
    other = piped(hashing, b"id,text\n", *key, "--text-column", "text")
    assert other.returncode == 2
    assert b"has the key 'nightly' and is not done" in other.stderr

    whole = tmp_path / "whole.txt"
    whole.write_text("one\ntwo\nhalf a line\nfour\n")
    with whole.open() as again:
        resumed = Streaming(hashing, "resume", str(job), "--wait", "--json", stdin=again)
        assert resumed.end() == 0, resumed.said
    assert resumed.result()["state"] == "done"
    assert rows(hashing, job) == [(1, "one"), (2, "two"), (3, "half a line"), (4, "four")]
    assert b"has these rows already" in piped(hashing, whole.read_bytes(), *key).stderr
    # What another night brings under the same key is not taken for what this one brought.
    for other_night in (b"one\n", b"uno\ndue\n", whole.read_bytes() + b"five\n"):
        said = piped(hashing, other_night, *key).stderr
        assert b"has the key 'nightly' already, but labelled other rows" in said
        assert b"has these rows already" not in said


def test_a_producer_that_is_killed_in_mid_stream_leaves_a_job_that_the_next_call_does_not_take(
    hashing: Cluster,
) -> None:
    stream = Streaming(hashing, "ingest", "-", "--wait")
    stream.write("one\n")
    job = stream.wait_for_rows(1)
    stream.kill()
    resumed = hashing.producer("resume", str(job))
    assert resumed.returncode == 2
    # The worker's sweeper, which sees that the process is gone, may have been there first.
    refusals = ("which is not read twice; start the same command", "is failed and cannot go on")
    assert any(refusal in resumed.stderr for refusal in refusals), resumed.stderr
    done = piped(hashing, b"one\n")
    assert done.returncode == 0
    assert newest(hashing) != job
    wait_until(
        lambda: hashing.value("SELECT state FROM jobs WHERE id = :job", job=job) == "failed",
        60,
        "the sweeper ends the job that nobody can go on with",
    )
    assert rows(hashing, job) == [(1, "one")]


def test_a_line_without_end_needs_no_more_memory_than_a_row_may(hashing: Cluster) -> None:
    script = (
        "import subprocess, sys, threading\n"
        "from resource import RUSAGE_CHILDREN, getrusage\n"
        "producer = subprocess.Popen(sys.argv[1:], stdin=subprocess.PIPE)\n"
        "for _ in range(1200):\n"
        "    producer.stdin.write(b'x' * (1 << 18))\n"
        "producer.stdin.write(b'\\nlast\\n')\n"
        "producer.stdin.close()\n"
        "print(producer.wait(), getrusage(RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    arguments = [sys.executable, "-c", script, str(BIN / "producer"), "ingest", "-", "--wait"]
    done = subprocess.run(
        [*arguments, "--format", "text"],
        env=clean_environment(**hashing.settings),
        cwd=hashing.folder,
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    status, peak = map(int, done.stdout.splitlines()[-1].split())
    assert status == 0, done.stderr
    assert peak < 250 * 1024, "in KB, of which the line has 300,000"
    job = newest(hashing)
    assert rows(hashing, job) == [(2, "last")]
    assert rejects(hashing, job) == [(1, 1, "row over 16 MB")]
