"""An entry that is delivered again comes in once, whoever dies where, and whoever comes back."""

from collections.abc import Sequence
from functools import partial

import pytest
from sqlalchemy import text

from db.ledger.entries import TASKS, Entered, Entry, EntryRow, RefusedRow
from db.ledger.jobs import create_job
from db.ledger.orphans import end_orphans
from db.ledger.payload import unpack
from db.ledger.producing import JobLost, JobWriter
from db.ledger.sweeping import Sweeper
from db.store import Store
from tests.db.at_once import at_once
from tests.db.breaking import Breaking
from tests.db.ledger_parts import change, held, past, value
from tests.db.test_sweeping import ListOutbox
from tests.producer.made_jobs import new_job

SOURCE = "redis at home, stream tweets, group all"


def stream_job(store: Store, name: str = "p1", **values: object) -> JobWriter:
    """Begin a job of one producer of the stream."""
    standard = {"stream": "redis", "continues": False, "identity": name, "source_identity": SOURCE}
    job = new_job(**{**standard, **values})
    return JobWriter(store, create_job(store, job, name), "labelstream")


def entry(number: int) -> Entry:
    return Entry(f"{number}-0", [EntryRow(f"text {number}", f"{number}-0")])


def entries(*numbers: int) -> list[Entry]:
    return [entry(number) for number in numbers]


def refused(number: int) -> Entry:
    return Entry(f"{number}-0", [RefusedRow("tweets", "empty text", "{}")])


def expire(store: Store, writer: JobWriter) -> None:
    change(
        store,
        f"UPDATE jobs SET producer_lease_until = {past(store, 1)} WHERE id = :job",
        job=writer.job,
    )


def noted(store: Store) -> list[str]:
    with store.read() as connection:
        return list(
            connection.execute(text("SELECT entry_id FROM stream_entries ORDER BY 1")).scalars()
        )


def texts_of(store: Store, job: int) -> dict[int, str]:
    """Return the texts of a job by row number, from the payloads of its chunks."""
    with store.read() as connection:
        payloads: Sequence[bytes] = (
            connection.execute(
                text("SELECT payload FROM chunks WHERE job_id = :job AND payload IS NOT NULL"),
                {"job": job},
            )
            .scalars()
            .all()
        )
    rows = [unpack(bytes(payload)) for payload in payloads]
    return {
        number: one
        for chunk in rows
        for number, one in zip(chunk.row_numbers, chunk.texts, strict=True)
    }


def all_texts(store: Store) -> list[str]:
    jobs = range(1, value(store, "SELECT count(*) FROM jobs") + 1)
    return sorted(one for job in jobs for one in texts_of(store, job).values())


def test_entries_get_row_numbers_in_order_and_refused_ones_among_them(store: Store) -> None:
    writer = stream_job(store)
    first = writer.add_entries(SOURCE, [entry(1), refused(2), entry(3)])
    second = writer.add_entries(SOURCE, [entry(4)])
    assert (first, second) == (Entered(1, 3), Entered(2, 1))
    # Rows to label and refused rows are numbered as they came.
    assert texts_of(store, writer.job) == {1: "text 1", 3: "text 3", 4: "text 4"}
    assert value(store, "SELECT row_number FROM rejects") == 2
    assert value(store, "SELECT source_file FROM rejects") == "tweets"
    assert value(store, "SELECT line FROM rejects") is None
    assert value(store, "SELECT sum(row_count) FROM chunks") == 4
    assert value(store, "SELECT sum(rejected_parsed) FROM chunks") == 1


def test_what_is_delivered_again_enters_nothing_and_makes_no_chunk(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(SOURCE, entries(1, 2))
    assert writer.add_entries(SOURCE, entries(1, 2)) == Entered(None, 0)
    assert value(store, "SELECT count(*) FROM chunks") == 1
    assert writer.add_entries(SOURCE, entries(2, 3)) == Entered(2, 1)
    assert texts_of(store, writer.job) == {1: "text 1", 2: "text 2", 3: "text 3"}


def test_an_entry_that_stands_twice_in_one_delivery_enters_once(store: Store) -> None:
    writer = stream_job(store)
    assert writer.add_entries(SOURCE, entries(1, 2, 1)) == Entered(1, 2)
    assert all_texts(store) == ["text 1", "text 2"]


def test_the_same_id_of_another_source_is_another_entry(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(SOURCE, entries(1))
    assert writer.add_entries("another stream", entries(1)) == Entered(2, 1)


def test_refused_entries_alone_make_a_chunk_that_is_done(store: Store) -> None:
    writer = stream_job(store)
    assert writer.add_entries(SOURCE, [refused(1), refused(2)]) == Entered(None, 2)
    assert value(store, "SELECT state FROM chunks") == "done"
    assert noted(store) == ["1-0", "2-0"]


def test_a_chunk_that_is_labelled_where_it_was_entered_needs_no_message(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(SOURCE, entries(1), sent=True)
    writer.add_entries(SOURCE, entries(2))
    assert value(store, "SELECT sent_at FROM chunks WHERE number = 1") is not None
    assert value(store, "SELECT sent_at FROM chunks WHERE number = 2") is None


def test_a_crash_between_commit_and_acknowledgement_enters_nothing_twice(store: Store) -> None:
    killed = stream_job(store, "p1")
    killed.add_entries(SOURCE, entries(1, 2))
    # It dies here, with both entries unacknowledged; another is given them, and one more.
    expire(store, killed)
    assert end_orphans(store) == [killed.job]
    other = stream_job(store, "p2")
    assert other.add_entries(SOURCE, entries(1, 2, 3)) == Entered(1, 1)
    assert texts_of(store, other.job) == {1: "text 3"}
    other.forget_entries(SOURCE, ["1-0", "2-0", "3-0"])
    assert noted(store) == []
    assert all_texts(store) == ["text 1", "text 2", "text 3"]


def test_a_zombie_removes_no_note_of_an_entry_that_another_producer_holds(store: Store) -> None:
    """It committed an entry and froze before the acknowledgement; now it comes back."""
    zombie = stream_job(store, "p1")
    zombie.add_entries(SOURCE, entries(1))
    expire(store, zombie)
    assert end_orphans(store) == [zombie.job]
    # Another producer claims the entry, but has not entered it yet. The zombie acknowledges it,
    # which Redis lets it do, and would now forget it.
    other = stream_job(store, "p2")
    with pytest.raises(JobLost, match="job 1 is no longer ours"):
        zombie.forget_entries(SOURCE, ["1-0"])
    with pytest.raises(JobLost):
        zombie.forget_entries_before(SOURCE, 0)
    assert other.add_entries(SOURCE, entries(1)) == Entered(None, 0)
    assert all_texts(store) == ["text 1"]


def test_a_zombie_enters_nothing_after_its_entries_were_given_to_another(store: Store) -> None:
    zombie = stream_job(store, "p1")
    expire(store, zombie)
    end_orphans(store)
    other = stream_job(store, "p2")
    assert other.add_entries(SOURCE, entries(1)) == Entered(1, 1)
    other.forget_entries(SOURCE, ["1-0"])
    with pytest.raises(JobLost):
        zombie.add_entries(SOURCE, entries(1))
    assert all_texts(store) == ["text 1"]
    assert noted(store) == []


def test_two_producers_that_are_given_the_same_entries_at_once_enter_each_once(
    store: Store,
) -> None:
    writers = [stream_job(store, f"p{n}") for n in range(4)]
    many = [entry(n) for n in range(50)]
    orders = [many, many[::-1], many[25:] + many[:25], many[::2] + many[1::2]]
    entered = at_once(
        [
            partial(writer.add_entries, SOURCE, order)
            for writer, order in zip(writers, orders, strict=True)
        ]
    )
    assert sum(one.rows for one in entered) == 50
    assert all_texts(store) == sorted(f"text {n}" for n in range(50))


@pytest.mark.parametrize("when", ["before", "after_commit_of"])
def test_a_connection_that_breaks_while_entries_are_added_doubles_nothing(
    postgres_store: Store, when: str
) -> None:
    writer = stream_job(postgres_store)
    breaking = Breaking(postgres_store)
    getattr(breaking, when)("INSERT INTO chunks")
    entered = writer.add_entries(SOURCE, entries(1, 2))
    assert breaking.broken == 1
    # A commit whose answer was lost is found by its entries; its message is the sweeper's to send.
    assert entered == (Entered(1, 2) if when == "before" else Entered(None, 0))
    assert value(postgres_store, "SELECT sum(row_count) FROM chunks") == 2
    outbox = ListOutbox()
    Sweeper(postgres_store, outbox, "test").sweep()
    assert [chunk.number for chunk in outbox.sent] == [1]


def test_many_entries_at_once(store: Store) -> None:
    """More than one statement of SQLite takes parameters for."""
    writer = stream_job(store)
    numbers = range(1, 12_001)
    assert writer.add_entries(SOURCE, entries(*numbers)).rows == 12_000
    assert writer.add_entries(SOURCE, entries(*numbers)).rows == 0
    writer.forget_entries(SOURCE, [f"{n}-0" for n in numbers])
    assert noted(store) == []


def test_a_source_that_begins_anew_is_not_held_to_what_is_old(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(SOURCE, entries(1, 2))
    writer.add_entries("another stream", entries(1))
    change(
        store,
        f"UPDATE stream_entries SET entered_at = {past(store, 90)} WHERE entry_id = '1-0'",
    )
    writer.forget_entries_before(SOURCE, 60)
    assert noted(store) == ["1-0", "2-0"]
    assert writer.add_entries(SOURCE, entries(1)) == Entered(3, 1)
    assert writer.add_entries("another stream", entries(1)).rows == 0


def test_the_sweeper_forgets_tasks_after_a_week_and_no_entry_of_a_stream(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(TASKS, [Entry("old", [EntryRow("a")]), Entry("new", [EntryRow("b")])])
    writer.add_entries(SOURCE, entries(1))
    week = 7 * 86_400
    change(
        store,
        f"UPDATE stream_entries SET entered_at = {past(store, week + 60)} WHERE entry_id <> 'new'",
    )
    change(
        store,
        f"UPDATE stream_entries SET entered_at = {past(store, week - 60)} WHERE entry_id = 'new'",
    )
    Sweeper(store, ListOutbox(), "test").sweep()
    assert noted(store) == ["1-0", "new"]


def test_a_worker_takes_a_chunk_of_entries_as_any_other(store: Store) -> None:
    writer = stream_job(store)
    writer.add_entries(SOURCE, entries(1, 2))
    rows = unpack(held(store, writer.job, 1).payload)
    assert rows.texts == ["text 1", "text 2"]
    assert rows.external_ids == ["1-0", "2-0"]
