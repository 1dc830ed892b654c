"""How a stream flows: how old its oldest waiting row is, and what came of it in the last minute."""

from typing import Any

import pytest
from sqlalchemy import update

from db.clock import db_now
from db.ledger.rates import flow, running_streams
from db.ledger.stopping import cancel
from db.schema import Chunk, Job
from db.store import Store
from tests.producer.made_jobs import MadeJob

#: Seconds that no test takes.
LONG = 1000.0


def age_job(store: Store, job: int, seconds: float) -> None:
    with store.write() as connection:
        statement = update(Job).where(Job.id == job).values(created_at=db_now(-seconds))
        connection.execute(statement)


def age_chunk(store: Store, job: int, number: int, **seconds: float) -> None:
    values: dict[str, Any] = {name: db_now(-value) for name, value in seconds.items()}
    with store.write() as connection:
        connection.execute(
            update(Chunk).where(Chunk.job_id == job, Chunk.number == number).values(**values)
        )


def test_the_lag_is_the_age_of_the_oldest_row_that_waits(store: Store) -> None:
    job = MadeJob(store, stream="stdin")
    assert flow(store, job.id).lag_seconds == 0
    first, second, third = job.chunk(["a"]), job.chunk(["b"]), job.chunk(["c"])
    for number, age in ((first, 3 * LONG), (second, 2 * LONG), (third, LONG)):
        age_chunk(store, job.id, number, queued_at=age)
    assert 3 * LONG <= flow(store, job.id).lag_seconds < 4 * LONG
    job.label(first)
    assert 2 * LONG <= flow(store, job.id).lag_seconds < 3 * LONG
    job.label(third)
    assert 2 * LONG <= flow(store, job.id).lag_seconds < 3 * LONG
    job.label(second)
    assert flow(store, job.id).lag_seconds == 0


def test_the_rate_counts_labels_and_rejects_of_the_last_minute_alone(store: Store) -> None:
    job = MadeJob(store, stream="stdin")
    age_job(store, job.id, LONG)
    long_ago = job.chunk(["x"] * 50)
    job.label(long_ago)
    age_chunk(store, job.id, long_ago, done_at=LONG)
    lately = job.chunk(["x"] * 8, rejects=[("empty text", "")])
    job.label(lately, rejected=[(51, "scores are not numbers")])
    job.chunk([], rejects=[("empty text", "")] * 3)
    job.chunk(["waits"])
    # 7 labelled, 1 rejected by the worker, 1 and 3 by the parser, in 60 s.
    assert flow(store, job.id).rows_per_second == 0.2


def test_of_a_young_job_the_rate_is_that_of_its_life(store: Store) -> None:
    job = MadeJob(store, stream="stdin")
    job.label(job.chunk(["x"] * 60))
    assert flow(store, job.id).rows_per_second > 1.0


def test_the_jobs_of_one_stream_are_added_up_while_one_of_them_runs(store: Store) -> None:
    same: dict[str, Any] = {"name": "redis://host/0?stream=s", "stream": "redis"}
    ended = MadeJob(store, identity="first", **same)
    ended.label(ended.chunk(["x"] * 3, rejects=[("empty text", "")]))
    assert ended.finish() == "done"
    for identity in ("second", "third"):
        running = MadeJob(store, identity=identity, **same)
        running.label(running.chunk(["y"] * 2))
    running.chunk(["z"] * 4)
    hidden = MadeJob(store, identity="fourth", hidden=True, **same)
    hidden.chunk(["dry"])
    relabel = MadeJob(store, identity="fifth", name=same["name"])
    relabel.chunk(["again"])
    other = MadeJob(store, name="other.log", stream="follow")
    other.chunk(["o"])
    over = MadeJob(store, name="over.log", stream="follow")
    assert over.finish() == "done"

    first, second = running_streams(store)

    assert (first.source, first.stream, first.jobs) == ("other.log", "follow", (other.id,))
    assert (second.source, second.stream) == (same["name"], "redis")
    assert second.jobs == (running.id, running.id - 1, ended.id)
    assert second.producers == 2
    assert (second.rows, second.labeled, second.rejected) == (12, 7, 1)
    assert second.waiting == 4
    assert second.flow.lag_seconds > 0

    assert cancel(store, running.id)
    assert [stream.producers for stream in running_streams(store)] == [1, 1]


@pytest.mark.parametrize("states", [0, 1])
def test_without_streams_there_are_none(store: Store, states: int) -> None:
    for _ in range(states):
        MadeJob(store).chunk(["x"])
    assert running_streams(store) == []
