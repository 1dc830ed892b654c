"""A Redis stream, its producers and their deaths: every entry once, each acknowledged."""

import json
import os
import signal
import subprocess
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import make_url

from db.ledger.jobs import ledger_id
from tests.cluster import Cluster, wait_until
from tests.db.ledger_parts import change, past
from tests.faults.servers import RedisServer

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")


SECRET_PASSWORD = "p4ssw0rd-of-a-stream"


class Stream:
    """A stream of its own in a database of its own, as its owner and its operator see it."""

    def __init__(self, cluster: Cluster, url: str, name: str) -> None:
        self.cluster = cluster
        self.name = name
        self.address = f"{url}?stream={name}&group=all"
        self.server: Any = redis.Redis.from_url(url, decode_responses=True)
        self.texts: list[str] = []

    def add(self, count: int, **fields: str) -> None:
        """Append entries whose texts are all different."""
        first = len(self.texts)
        pipeline = self.server.pipeline()
        for number in range(first, first + count):
            text = f"{self.name} text {number}"
            self.texts.append(text)
            pipeline.xadd(self.name, {"text": text, **fields})
        pipeline.execute()

    def start(self, *options: str, **settings: str) -> "subprocess.Popen[str]":
        """Start a producer of the group, and wait until it has a job."""
        before = self.cluster.value("SELECT count(*) FROM jobs")
        process = self.cluster.start_producer("ingest", self.address, *options, **settings)
        wait_until(
            lambda: (
                self.cluster.value("SELECT count(*) FROM jobs") > before
                or process.poll() is not None
            ),
            60,
            "the producer has a job",
        )
        return process

    def pending(self) -> int:
        """Entries that were delivered and not acknowledged."""
        return int(self.server.xpending(self.name, "all")["pending"])

    def consumers(self) -> list[str]:
        return sorted(one["name"] for one in self.server.xinfo_consumers(self.name, "all"))

    def rows(self) -> list[Any]:
        return list(
            self.cluster.rows(
                "SELECT t.* FROM labeled_texts t JOIN jobs j ON j.id = t.job_id WHERE j.source LIKE "
                ":like ORDER BY t.job_id, t.row_number",
                like=f"%stream={self.name}&%",
            )
        )

    def wait_for_labels(self) -> list[Any]:
        """Wait until every text is labelled; return the rows, each checked and there once."""
        wait_until(lambda: len(self.rows()) >= len(self.texts), 120, "all are labelled")
        rows = self.rows()
        assert sorted(row.text for row in rows) == sorted(self.texts)
        for row in rows:
            assert row.label == LABELS[zlib.crc32(row.text.encode()) % len(LABELS)]
        return rows

    def wait_until_settled(self) -> None:
        """Wait until nothing is pending, and nothing noted."""
        wait_until(lambda: self.pending() == 0, 60, "all are acknowledged")
        wait_until(
            lambda: (
                self.cluster.value(
                    "SELECT count(*) FROM stream_entries WHERE source_identity IN "
                    "(SELECT source_identity FROM jobs WHERE source LIKE :like)",
                    like=f"%stream={self.name}&%",
                )
                == 0
            ),
            60,
            "the notes are gone",
        )

    def states(self) -> list[str]:
        return [row.state for row in self.jobs()]

    def jobs(self) -> Sequence[Any]:
        return self.cluster.rows(
            "SELECT * FROM jobs WHERE source LIKE :like ORDER BY id",
            like=f"%stream={self.name}&%",
        )


def stop(process: "subprocess.Popen[str]", number: signal.Signals = signal.SIGTERM) -> str:
    """Tell a producer to drain; return what it said."""
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    return out + err


def kill(process: "subprocess.Popen[str]") -> None:
    os.kill(process.pid, signal.SIGKILL)
    process.wait(timeout=10)


@pytest.fixture
def stream(hashing: Cluster, redis_server: str, request: pytest.FixtureRequest) -> Iterator[Stream]:
    # A database of its own: other tests empty the first one.
    url = make_url(redis_server).set(database="5").render_as_string(hide_password=False)
    made = Stream(hashing, url, request.node.name.removeprefix("test_")[:40])
    made.server.flushdb()
    yield made
    made.server.close()


def test_two_thousand_entries_are_labelled_once_and_acknowledged(stream: Stream) -> None:
    stream.add(1500, user="me")
    process = stream.start("--wait", "--json", "--keep-columns", "user")
    stream.add(500, user="you")
    rows = stream.wait_for_labels()
    stream.wait_until_settled()
    assert [row.text for row in rows] == stream.texts, "in the stream's order"
    assert [row.row_number for row in rows] == list(range(1, 2001))
    first = stream.server.xrange(stream.name, count=1)[0][0]
    assert rows[0].external_id == first
    assert json.loads(rows[1999].extra) == {"user": "you"}
    job = stream.jobs()[0]
    assert job.source == f"{stream.address}"
    assert rows[0].id_scope == stream.address.removesuffix("&group=all")
    assert (job.stream, bool(job.continues), job.state) == ("redis", False, "running")
    assert stream.consumers() == [f"labelstream-{ledger_id(stream.cluster.store)[:12]}-{job.id}"]
    said = stop(process, signal.SIGINT)
    summary = json.loads(said.splitlines()[0])
    assert (summary["state"], summary["rows"], summary["labeled"]) == ("done", 2000, 2000)
    assert "the same command reads what comes after, in a new job" in said
    assert stream.consumers() == [], "it leaves no consumer behind"
    # What came while there was no producer is the next one's.
    stream.add(10)
    done = stream.cluster.producer("ingest", stream.address, "--wait", "--limit", "10", "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["labeled"] == 10
    stream.wait_for_labels()
    assert stream.server.xlen(stream.name) == 2010, "the stream is its owner's"


def test_bad_entries_are_rejected_and_their_neighbours_labelled(stream: Stream) -> None:
    stream.add(1)
    for bad in ({"text": "  "}, {"body": "no text"}, {"text": b"caf\xe9"}, {"text": "nul \0"}):
        stream.server.xadd(stream.name, {"user": "me", **bad})
    stream.add(1)
    done = stream.cluster.producer("ingest", stream.address, "--wait", "--limit", "6", "--json")
    assert done.returncode == 0, done.stderr
    rows = stream.wait_for_labels()
    assert [row.row_number for row in rows] == [1, 6]
    rejects = stream.cluster.rows(
        "SELECT * FROM rejects WHERE job_id = :job ORDER BY row_number", job=rows[0].job_id
    )
    assert [(row.row_number, row.reason, row.raw) for row in rejects] == [
        (2, "empty text", '{"user": "me", "text": "  "}'),
        (3, "no text field", '{"user": "me", "body": "no text"}'),
        (4, "invalid utf-8", '{"user": "me", "text": "caf\\\\xe9"}'),
        (5, "NUL character", '{"user": "me", "text": "nul \\u0000"}'),
    ]
    assert {(row.source_file, row.line) for row in rejects} == {(rows[0].id_scope, None)}
    stream.wait_until_settled()


def test_a_killed_producer_loses_nothing_and_its_heir_doubles_nothing(stream: Stream) -> None:
    stream.add(1000)
    # Two chunks are full; the rest is in its hands, and would wait there for a minute.
    killed = stream.start("--chunk-rows", "400", "--max-wait", "60")
    wait_until(lambda: len(stream.rows()) == 800 and stream.pending() == 200, 60, "it holds some")
    kill(killed)
    stream.add(1000)
    heir = stream.start("--chunk-rows", "60")
    stream.wait_for_labels()
    stream.wait_until_settled()
    dead, living = stream.jobs()
    assert sum(row.job_id == dead.id for row in stream.rows()) == 800
    wait_until(lambda: stream.states() == ["done", "running"], 60, "the dead one's job is done")
    wait_until(lambda: len(stream.consumers()) == 1, 60, "the dead one's name is gone")
    assert stream.consumers()[0].endswith(f"-{living.id}")
    stop(heir)
    assert stream.consumers() == []


KILL_AT_ACKNOWLEDGEMENT = """
import os, redis
asked = []
def xack(self, *arguments):
    asked.append(arguments)
    if len(asked) == 3:
        os.kill(os.getpid(), 9)
    return original(self, *arguments)
original, redis.Redis.xack = redis.Redis.xack, xack
"""


def test_a_producer_killed_between_commit_and_acknowledgement_enters_nothing_twice(
    stream: Stream, tmp_path: Path
) -> None:
    (tmp_path / "sitecustomize.py").write_text(KILL_AT_ACKNOWLEDGEMENT)
    stream.add(400)
    killed = stream.start("--chunk-rows", "50", PYTHONPATH=str(tmp_path))
    killed.wait(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert stream.pending() == 50, "the third chunk was not acknowledged"
    notes = stream.cluster.value(
        "SELECT count(*) FROM stream_entries WHERE source_identity <> 'task'"
    )
    assert notes == 50, "and it is in the ledger"
    heir = stream.start("--wait")
    rows = stream.wait_for_labels()
    stream.wait_until_settled()
    by_job = [row.job_id for row in rows]
    assert [by_job.count(job.id) for job in stream.jobs()] == [150, 250]
    stop(heir)


def test_a_producer_stopped_past_its_lease_is_fenced_and_goes_on_in_another_job(
    stream: Stream,
) -> None:
    cluster = stream.cluster
    frozen = stream.start()
    stream.add(200)
    stream.wait_for_labels()
    stream.wait_until_settled()
    cluster.pause(frozen)
    try:
        # Its read at Redis goes on without it: what comes now is delivered to it and nobody else.
        stream.add(100)
        first = stream.jobs()[0]
        change(
            cluster.store,
            f"UPDATE jobs SET producer_lease_until = {past(cluster.store, 1)} WHERE id = :job",
            job=first.id,
        )
        heir = stream.start()
        stream.wait_for_labels()
        stream.wait_until_settled()
    finally:
        frozen.send_signal(signal.SIGCONT)
    wait_until(lambda: len(stream.jobs()) == 3, 60, "the zombie begins another job")
    stream.add(300)
    stream.wait_for_labels()
    stream.wait_until_settled()
    said = stop(frozen)
    assert f"job {first.id} is no longer ours" in said
    assert "going on in another job" in said
    stop(heir)
    wait_until(lambda: stream.states() == ["done"] * 3, 60, "every job is done")


def test_producers_of_one_group_share_it_and_are_told_of_strangers(stream: Stream) -> None:
    stream.add(1)
    stream.server.xgroup_create(stream.name, "all", id="0")
    stream.add(5)
    # One entry is a stranger's, and one of another ledger's.
    stream.server.xreadgroup("all", "stranger", {stream.name: ">"}, count=1)
    stream.server.xreadgroup("all", "labelstream-0123456789ab-1", {stream.name: ">"}, count=1)
    del stream.texts[:2]
    first, second = stream.start("--chunk-rows", "20"), stream.start("--chunk-rows", "20")
    for _ in range(50):
        stream.add(20)
    stream.wait_for_labels()
    wait_until(lambda: stream.pending() == 2, 60, "what strangers hold stays with them")
    jobs = stream.jobs()
    assert len({job.source_identity for job in jobs}) == 1
    shares = [sum(row.job_id == job.id for row in stream.rows()) for job in jobs]
    assert min(shares) > 0, shares
    said = stop(first)
    assert said.count("has consumers that are not this ledger's") == 1
    assert "'labelstream-0123456789ab-1', 'stranger'" in said
    stop(second)
    assert stream.consumers() == ["labelstream-0123456789ab-1", "stranger"]


def test_a_stream_that_is_emptied_begins_anew(stream: Stream) -> None:
    process = stream.start()
    stream.add(30)
    stream.wait_for_labels()
    stream.wait_until_settled()
    stream.server.flushdb()
    stream.add(30)
    stream.wait_for_labels()
    stream.server.flushdb()
    stream.add(30)
    stream.wait_for_labels()
    said = stop(process)
    assert said.count("was gone and is made again") == 1
    assert len(stream.jobs()) == 1


def allow(stream: Stream) -> None:
    """Let the reader in: a Redis that comes back has forgotten its users."""
    stream.server.acl_setuser(
        "reader", enabled=True, passwords=[f"+{SECRET_PASSWORD}"], keys=["*"], categories=["+@all"]
    )


def test_a_redis_that_is_killed_and_comes_back_loses_nothing_and_shows_no_password(
    hashing: Cluster, tmp_path: Path
) -> None:
    source = RedisServer(tmp_path / "source")
    source.start()
    try:
        stream = Stream(hashing, source.url, "killed")
        allow(stream)
        shown = stream.address
        stream.address = shown.replace("redis://", f"redis://reader:{SECRET_PASSWORD}@")
        process = stream.start()
        for _ in range(2):
            stream.add(400)
            wait_until(lambda: len(stream.rows()) > len(stream.texts) - 300, 60, "in the middle")
            source.kill()
            source.start()
            allow(stream)
            stream.wait_for_labels()
            stream.wait_until_settled()
        said = stop(process)
    finally:
        source.stop()
    # Said once each time, unless Redis was back before the next read.
    assert said.count(" is away (") == said.count(" answers again") <= 2
    job = stream.jobs()[0]
    assert job.source == shown
    tables = "".join(str(hashing.rows(f"SELECT * FROM {name}")) for name in ("jobs", "rejects"))
    assert SECRET_PASSWORD not in tables + said + hashing.logs()
