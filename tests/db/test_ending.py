"""A job ends when its last chunk is closed, whoever closes it, and only once."""

import threading
from functools import partial
from typing import Any

import pytest
from sqlalchemy import Connection, event

from db.ledger.ending import end_if_complete, reject_limit
from db.ledger.jobs import get_job
from db.ledger.producing import JobWriter
from db.ledger.stopping import cancel
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, held, result_of, value


def close(store: Store, job: int, number: int, **result: Any) -> bool:
    taken = held(store, job, number)
    return close_chunk(store, taken, result_of(taken, **result))


def two_held(store: Store, turn: int) -> tuple[JobWriter, list[Any]]:
    writer = begin(store, identity=f"rows {turn}")
    numbers = [add(writer, 1, 2), add(writer, 3, 2)]
    return writer, [held(store, writer.job, number) for number in numbers]


def test_the_two_last_chunks_closed_at_the_same_moment_end_the_job(store: Store) -> None:
    for turn in range(50):
        writer, claims = two_held(store, turn)
        writer.exhaust()
        closings = at_once([partial(close_chunk, store, one, result_of(one)) for one in claims])
        assert closings == [True, True]
        assert get_job(store, writer.job).state == "done"
    assert value(store, "SELECT count(*) FROM labeled_texts") == 200


def test_a_closing_and_the_end_of_the_source_at_the_same_moment_end_the_job(store: Store) -> None:
    for turn in range(20):
        writer, claims = two_held(store, turn)
        assert close_chunk(store, claims[0], result_of(claims[0]))

        def exhaust(writer: JobWriter = writer) -> str:
            writer.exhaust()
            return end_if_complete(store, writer.job)

        last = partial(close_chunk, store, claims[1], result_of(claims[1]))
        outcomes = at_once([last, exhaust])
        assert outcomes[0] is True
        assert outcomes[1] in ("running", "done")
        assert get_job(store, writer.job).state == "done"


def test_a_job_does_not_end_before_its_source_or_its_chunks(store: Store) -> None:
    writer = begin(store)
    first, second = add(writer, 1, 2), add(writer, 3, 2)
    assert close(store, writer.job, first)
    assert end_if_complete(store, writer.job) == "running"
    writer.exhaust()
    assert end_if_complete(store, writer.job) == "running"
    assert close(store, writer.job, second)
    job = get_job(store, writer.job)
    assert (job.state, job.error) == ("done", None)
    assert job.finished_at is not None
    assert job.producer_lease_until is None


def test_a_job_without_rows_is_done(store: Store) -> None:
    writer = begin(store)
    writer.exhaust()
    assert end_if_complete(store, writer.job) == "done"


def test_a_source_that_broke_off_fails_the_job_only_when_its_chunks_are_closed(
    store: Store,
) -> None:
    writer = begin(store)
    number = add(writer, 1, 2)
    writer.exhaust("rows.csv.gz: it ends in the middle")
    assert end_if_complete(store, writer.job) == "running"
    assert close(store, writer.job, number)
    job = get_job(store, writer.job)
    assert (job.state, job.error) == ("failed", "rows.csv.gz: it ends in the middle")
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2


@pytest.mark.parametrize(
    ("limit", "state"), [("3", "done"), ("2", "failed"), ("30%", "done"), ("29.9%", "failed")]
)
def test_too_many_rejects_of_parser_and_worker_fail_the_job(
    store: Store, limit: str, state: str
) -> None:
    writer = begin(store, options={"max_rejects": limit})
    first, second = add(writer, 1, 5, rejected=2), add(writer, 8, 3)
    writer.exhaust()
    assert close(store, writer.job, first, rejected=[1])
    assert close(store, writer.job, second)
    job = get_job(store, writer.job)
    assert job.state == state
    if state == "failed":
        assert job.error == f"3 of 10 rows were rejected, more than --max-rejects {limit}"


def test_the_limit_of_rejects_is_a_number_or_a_share() -> None:
    assert reject_limit(None, 1000) is None
    assert reject_limit("12", 1000) == 12
    assert reject_limit("2.5%", 1000) == 25


def test_a_failed_job_stays_failed_when_what_was_leased_lands(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 2))
    writer.fail("too many rejects")
    assert close_chunk(store, taken, result_of(taken))
    job = get_job(store, writer.job)
    assert (job.state, job.error) == ("failed", "too many rejects")
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2


def test_a_cancel_while_the_job_ends_waits_and_changes_nothing(postgres_store: Store) -> None:
    """The job is locked from the look at its chunks to its new state."""
    store = postgres_store
    writer = begin(store)
    assert close(store, writer.job, add(writer, 1, 2))
    writer.exhaust()
    about_to_end, go_on = threading.Event(), threading.Event()

    def hook(_: Connection, __: Any, statement: str, *more: Any) -> None:
        if threading.current_thread().name == "ending" and statement.startswith("UPDATE jobs"):
            about_to_end.set()
            assert go_on.wait(30)

    event.listen(store.engine, "before_cursor_execute", hook)
    ended: list[str] = []
    cancelled: list[bool] = []
    ending = threading.Thread(
        target=lambda: ended.append(end_if_complete(store, writer.job)), name="ending"
    )
    cancelling = threading.Thread(target=lambda: cancelled.append(cancel(store, writer.job)))
    ending.start()
    assert about_to_end.wait(30)
    cancelling.start()
    waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
    wait_until(
        lambda: cancelled or value(store, waiting),
        30,
        "the cancel waits for the lock, or is through",
    )
    go_on.set()
    ending.join(30)
    cancelling.join(30)
    assert (ended, cancelled) == (["done"], [False])
    assert get_job(store, writer.job).state == "done"
