"""One producer per job, every step of it fenced, and nothing entered twice."""

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from db.ledger.claiming import hand_back
from db.ledger.jobs import (
    AlreadyRunning,
    Production,
    create_job,
    find_job,
    get_job,
    ledger_id,
    take_over,
)
from db.ledger.producing import JobLost, JobWriter
from db.ledger.stopping import cancel
from db.store import Store
from tests.db.at_once import at_once
from tests.db.breaking import Breaking
from tests.db.ledger_parts import add, begin, change, held, parsed_rejects, past, value
from tests.db.ledger_parts import chunk_rows as rows
from tests.producer.made_jobs import new_job

Step = Callable[[JobWriter], Any]
STEPS: dict[str, Step] = {
    "add_chunk": lambda writer: add(writer, 1, 3),
    "add_rejects": lambda writer: add(writer, 1, 0, rejected=2),
    "renew": lambda writer: writer.renew(),
    "exhaust": lambda writer: writer.exhaust(),
    "fail": lambda writer: writer.fail("because"),
}


def expire(store: Store, job: int) -> None:
    change(
        store, f"UPDATE jobs SET producer_lease_until = {past(store, 1)} WHERE id = :job", job=job
    )


def snapshot(store: Store) -> Any:
    return (
        value(store, "SELECT count(*) FROM chunks"),
        value(store, "SELECT count(*) FROM rejects"),
        get_job(store, 1),
    )


@pytest.mark.parametrize("step", STEPS)
def test_a_producer_that_lost_its_job_changes_nothing(store: Store, step: str) -> None:
    zombie = begin(store)
    expire(store, zombie.job)
    assert take_over(store, zombie.job, "producer-2") is not None
    before = snapshot(store)
    with pytest.raises(JobLost, match="job 1 is no longer ours: another producer has it"):
        STEPS[step](zombie)
    assert snapshot(store) == before


@pytest.mark.parametrize("step", STEPS)
def test_a_cancelled_job_takes_no_more(store: Store, step: str) -> None:
    writer = begin(store)
    assert cancel(store, writer.job)
    before = snapshot(store)
    with pytest.raises(JobLost, match="it is cancelled"):
        STEPS[step](writer)
    assert snapshot(store) == before


def test_of_eight_calls_at_once_for_the_same_rows_one_makes_the_job(store: Store) -> None:
    outcomes = at_once([partial(create_job, store, new_job(), f"p{n}") for n in range(8)])
    made = [outcome for outcome in outcomes if isinstance(outcome, Production)]
    assert len(made) == 1
    assert sum(isinstance(outcome, AlreadyRunning) for outcome in outcomes) == 7
    assert value(store, "SELECT count(*) FROM jobs") == 1


def test_other_rows_make_another_job_and_so_do_the_same_when_the_first_has_ended(
    store: Store,
) -> None:
    first = begin(store)
    other = begin(store, identity="another")
    with pytest.raises(AlreadyRunning):
        begin(store)
    cancel(store, first.job)
    again = begin(store)
    assert len({first.job, other.job, again.job}) == 3
    found = find_job(store, new_job().identity)
    assert found is not None
    assert (found.id, found.state) == (again.job, "running")


def test_a_hidden_job_answers_for_nothing(store: Store) -> None:
    begin(store, hidden=True)
    assert find_job(store, new_job().identity) is None


def test_a_living_producer_is_not_taken_over_and_a_dead_one_by_one_only(store: Store) -> None:
    writer = begin(store)
    assert take_over(store, writer.job, "producer-2") is None
    assert take_over(store, writer.job, "producer-2", dead="producer-7") is None
    expire(store, writer.job)
    taken = at_once([partial(take_over, store, writer.job, f"p{n}") for n in range(8)])
    assert sum(isinstance(one, Production) for one in taken) == 1
    assert sum(one is None for one in taken) == 7


def test_a_producer_known_to_be_dead_is_not_waited_for(store: Store) -> None:
    writer = begin(store)
    taken = take_over(store, writer.job, "producer-2", dead="producer-1")
    assert taken is not None
    add(JobWriter(store, taken, "labelstream"), 1, 2)
    with pytest.raises(JobLost):
        writer.renew()


def test_a_released_job_is_taken_over_at_once_and_an_ended_one_never(store: Store) -> None:
    writer = begin(store)
    writer.release()
    taken = take_over(store, writer.job, "producer-2")
    assert taken is not None
    cancel(store, writer.job)
    expire(store, writer.job)
    assert take_over(store, writer.job, "producer-3") is None


def test_chunk_and_position_and_parser_rejects_come_together(store: Store) -> None:
    writer = begin(store)
    assert writer.add_chunk(rows(1, 3), parsed_rejects(4, 2), {"row": 5}) == 1
    assert writer.add_chunk(rows(6, 1), [], {"row": 6}) == 2
    assert get_job(store, 1).position == {"row": 6}
    assert value(store, "SELECT next_chunk FROM jobs") == 3
    assert value(store, "SELECT row_count FROM chunks WHERE number = 1") == 5
    assert value(store, "SELECT rejected_parsed FROM chunks WHERE number = 1") == 2
    assert value(store, "SELECT count(*) FROM rejects WHERE row_number IN (4, 5)") == 2
    assert writer.open_chunks() == 2


def test_a_chunk_of_rejects_alone_is_done_and_needs_no_message(store: Store) -> None:
    writer = begin(store)
    assert writer.add_chunk(rows(1, 0), parsed_rejects(1, 4), {"row": 4}) is None
    assert value(store, "SELECT state FROM chunks") == "done"
    assert value(store, "SELECT payload FROM chunks") is None
    assert writer.open_chunks() == 0


def test_that_messages_were_sent_is_recorded_with_a_chunk_or_when_none_follows(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("db.ledger.producing._UNMARKED", 2)
    monkeypatch.setattr("db.ledger.producing._UNMARKED_SECONDS", 3600.0)
    monkeypatch.setattr("db.ledger.producing._LATEST_SECONDS", 3600.0)
    writer = begin(store)
    unsent = "SELECT count(*) FROM chunks WHERE sent_at IS NULL"
    writer.note_sent(add(writer, 1, 2))
    writer.note_sent(add(writer, 3, 2))
    assert value(store, unsent) == 2, "few messages wait for more"
    third = add(writer, 5, 2)
    assert value(store, unsent) == 1, "the first two are recorded"
    assert value(store, f"{unsent} AND number = {third}") == 1
    writer.note_sent(third)
    writer.mark_sent()
    assert value(store, unsent) == 0
    change(store, "UPDATE chunks SET sent_at = NULL")
    fourth = add(writer, 7, 2)
    writer.mark_sent()
    assert value(store, unsent) == fourth, "what was recorded once is not recorded again"
    writer.note_sent(fourth)
    monkeypatch.setattr("db.ledger.producing._UNMARKED_SECONDS", 0.0)
    fifth = add(writer, 9, 2)
    assert value(store, f"{unsent} AND number = {fourth}") == 0, "one waits for some time only"
    monkeypatch.setattr("db.ledger.producing._LATEST_SECONDS", 0.0)
    writer.note_sent(fifth)
    assert value(store, f"{unsent} AND number = {fifth}") == 0, "if no chunk comes, it is recorded"


def test_a_chunk_that_was_handed_back_stays_one_to_send(store: Store) -> None:
    writer = begin(store)
    numbers = [add(writer, 1, 2), add(writer, 3, 2)]
    for number in numbers:
        writer.note_sent(number)
    back, kept = (held(store, writer.job, number) for number in numbers)
    hand_back(store, back)
    writer.mark_sent()
    sent = "SELECT number FROM chunks WHERE sent_at IS NOT NULL"
    assert value(store, sent) == kept.number
    assert value(store, sent.replace("NOT ", "")) == back.number


def test_the_ledger_has_one_name_that_stays(store: Store) -> None:
    assert ledger_id(store) == ledger_id(Store(store.url))
    assert len(ledger_id(store)) == 32


@pytest.mark.parametrize("when", ["before", "after_commit_of"])
def test_a_connection_that_breaks_while_a_chunk_is_added_doubles_nothing(
    postgres_store: Store, when: str
) -> None:
    troubles: list[str] = []
    production = create_job(postgres_store, new_job(), "producer-1")
    writer = JobWriter(postgres_store, production, "labelstream", troubles.append)
    breaking = Breaking(postgres_store)
    getattr(breaking, when)("INSERT INTO chunks")
    assert writer.add_chunk(rows(1, 3), parsed_rejects(4, 1), {"row": 4}) == 1
    assert breaking.broken == 1
    assert len(troubles) == 2
    assert "trying again" in troubles[0]
    assert "works again" in troubles[1]
    assert writer.add_chunk(rows(5, 3), [], {"row": 7}) == 2
    assert value(postgres_store, "SELECT count(*) FROM chunks") == 2
    assert value(postgres_store, "SELECT sum(row_count) FROM chunks") == 7
    assert value(postgres_store, "SELECT count(*) FROM rejects") == 1
    assert value(postgres_store, "SELECT next_chunk FROM jobs") == 3
