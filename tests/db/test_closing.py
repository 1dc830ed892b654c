"""Closing a chunk: the fence decides, counts are set, and a refused row stops no other."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from functools import partial

import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from db.ledger.claiming import claim, hand_back
from db.ledger.jobs import get_job
from db.ledger.payload import unpack
from db.ledger.stopping import cancel
from db.store import Store, may_pass
from tests.db.at_once import at_once
from tests.db.breaking import Breaking
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, facts, held, result_of, value


def test_a_closed_chunk_has_its_rows_counts_and_no_payload(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 5, rejected=1))
    assert close_chunk(store, taken, result_of(taken, rejected=[2]))
    with store.read() as connection:
        chunk = connection.execute(text("SELECT * FROM chunks")).one()
        rows = connection.execute(text("SELECT * FROM labeled_texts ORDER BY row_number")).all()
        rejects = connection.execute(text("SELECT * FROM rejects ORDER BY row_number")).all()
    assert (chunk.state, chunk.payload, chunk.lease_until) == ("done", None, None)
    counts = (chunk.row_count, chunk.labeled, chunk.rejected_worker, chunk.rejected_parsed)
    assert counts == (6, 4, 1, 1)
    assert (chunk.tokens, chunk.busy_seconds, chunk.engine) == (100, 0.5, "constant")
    assert [row.row_number for row in rows] == [1, 3, 4, 5]
    assert [row.text for row in rows] == ["text 1", "text 3", "text 4", "text 5"]
    assert {(row.model, row.model_version, row.engine) for row in rows} == {
        ("emotion", 1, "constant")
    }
    assert {(row.id_scope, row.external_id[:3]) for row in rows} == {("tweets.csv", "id-")}
    assert [(row.row_number, row.reason) for row in rejects] == [
        (2, "logits not finite"),
        (6, "empty text"),
    ]


def test_a_job_without_stored_texts_keeps_hash_and_label_only(store: Store) -> None:
    writer = begin(store, store_text=False)
    taken = held(store, writer.job, add(writer, 1, 2))
    assert close_chunk(store, taken, result_of(taken, rejected=[2]))
    assert value(store, "SELECT text FROM labeled_texts") is None
    assert len(value(store, "SELECT text_hash FROM labeled_texts")) == 32
    assert value(store, "SELECT raw FROM rejects") is None


def test_who_lost_the_lease_writes_nothing(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 3)
    late = held(store, writer.job, number, "paused")
    assert hand_back(store, late)
    now = held(store, writer.job, number, "other")
    assert close_chunk(store, late, result_of(late, "anger", rejected=[1])) is False
    assert value(store, "SELECT count(*) FROM labeled_texts") == 0
    assert value(store, "SELECT count(*) FROM rejects") == 0
    assert value(store, "SELECT state FROM chunks") == "leased"
    assert close_chunk(store, now, result_of(now, "joy"))
    assert close_chunk(store, late, result_of(late, "anger", rejected=[1])) is False
    assert value(store, "SELECT count(*) FROM labeled_texts WHERE label = 'joy'") == 3
    assert value(store, "SELECT count(*) FROM labeled_texts") == 3
    assert value(store, "SELECT labeled FROM chunks") == 3
    assert value(store, "SELECT rejected_worker FROM chunks") == 0


def test_a_lease_that_ran_out_but_was_not_swept_still_closes(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 3))
    change(store, "UPDATE chunks SET lease_until = '2020-01-01 00:00:00.000000+00'")
    assert close_chunk(store, taken, result_of(taken))


def test_a_second_close_adds_nothing_to_the_counts(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 4))
    change(store, "UPDATE chunks SET labeled = 3, rejected_worker = 9")
    assert close_chunk(store, taken, result_of(taken, rejected=[4]))
    assert close_chunk(store, taken, result_of(taken)) is False
    assert value(store, "SELECT labeled FROM chunks") == 3
    assert value(store, "SELECT rejected_worker FROM chunks") == 1


def test_of_two_closings_at_once_under_one_token_one_counts(store: Store) -> None:
    writer = begin(store)
    for turn in range(5):
        taken = held(store, writer.job, add(writer, turn * 20 + 1, 20))
        closings = at_once(
            [partial(close_chunk, store, taken, result_of(taken, label)) for label in ("a", "b")]
        )
        assert sorted(closings) == [False, True]
    assert value(store, "SELECT count(*) FROM labeled_texts") == 100
    assert value(store, "SELECT sum(labeled) FROM chunks") == 100


def test_results_of_a_cancelled_job_may_still_land(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 3))
    assert cancel(store, writer.job)
    assert close_chunk(store, taken, result_of(taken))
    assert value(store, "SELECT count(*) FROM labeled_texts") == 3
    assert get_job(store, writer.job).state == "cancelled"


def refuse_row(store: Store, number: int) -> None:
    if store.dialect == "sqlite":
        change(
            store,
            f"CREATE TRIGGER refuse BEFORE INSERT ON labeled_texts WHEN NEW.row_number = {number} "
            "BEGIN SELECT RAISE(ABORT, 'refused'); END",
        )
    else:
        change(
            store,
            f"ALTER TABLE labeled_texts ADD CONSTRAINT refuse CHECK (row_number <> {number})",
        )


def test_a_row_that_the_database_refuses_is_a_reject_and_the_rest_is_written(store: Store) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 5))
    refuse_row(store, 3)
    assert close_chunk(store, taken, result_of(taken, rejected=[5]))
    with store.read() as connection:
        labeled = connection.execute(
            text("SELECT row_number FROM labeled_texts ORDER BY row_number")
        ).scalars()
        assert labeled.all() == [1, 2, 4]
        rejects = connection.execute(text("SELECT * FROM rejects ORDER BY row_number")).all()
    assert [row.row_number for row in rejects] == [3, 5]
    assert rejects[0].reason.startswith("not storable: ")
    assert rejects[0].raw == "text 3"
    assert "text 3" not in rejects[0].reason
    assert value(store, "SELECT labeled FROM chunks") == 3
    assert value(store, "SELECT rejected_worker FROM chunks") == 2


def test_a_full_disk_is_raised_and_charges_no_row(sqlite_store: Store) -> None:
    writer = begin(sqlite_store)
    taken = held(sqlite_store, writer.job, add(writer, 1, 200))
    sqlite_store.engine.dispose()

    def no_room(connection: sqlite3.Connection, _: object) -> None:
        pages = connection.execute("PRAGMA page_count").fetchone()[0]
        connection.execute(f"PRAGMA max_page_count = {pages}")

    event.listen(sqlite_store.engine, "connect", no_room)
    with pytest.raises(DBAPIError) as raised:
        close_chunk(sqlite_store, taken, result_of(taken))
    assert may_pass(raised.value)
    event.remove(sqlite_store.engine, "connect", no_room)
    sqlite_store.engine.dispose()
    assert value(sqlite_store, "SELECT state FROM chunks") == "leased"
    assert value(sqlite_store, "SELECT count(*) FROM rejects") == 0
    assert close_chunk(sqlite_store, taken, result_of(taken))
    assert value(sqlite_store, "SELECT labeled FROM chunks") == 200


def test_a_database_that_only_reads_is_raised_and_charges_no_row(postgres_store: Store) -> None:
    writer = begin(postgres_store)
    taken = held(postgres_store, writer.job, add(writer, 1, 3))
    name = postgres_store.engine.url.database
    change(postgres_store, f"ALTER DATABASE {name} SET default_transaction_read_only = on")
    postgres_store.engine.dispose()
    with pytest.raises(DBAPIError) as raised:
        close_chunk(postgres_store, taken, result_of(taken))
    assert may_pass(raised.value)
    change(
        postgres_store,
        f"SET TRANSACTION READ WRITE; ALTER DATABASE {name} RESET default_transaction_read_only",
    )
    postgres_store.engine.dispose()
    assert close_chunk(postgres_store, taken, result_of(taken))
    assert value(postgres_store, "SELECT count(*) FROM rejects") == 0


BREAKS: dict[str, Callable[[Breaking], None]] = {
    "before the fence": lambda breaking: breaking.before("UPDATE chunks"),
    "before the rows": lambda breaking: breaking.after("UPDATE chunks"),
    "before the rejects": lambda breaking: breaking.before("INSERT INTO rejects"),
    "before the job's end": lambda breaking: breaking.before("SELECT jobs.state"),
    "after the commit": lambda breaking: breaking.after_commit_of("INSERT INTO rejects"),
}


@pytest.mark.parametrize("when", BREAKS)
def test_a_connection_that_breaks_while_a_chunk_is_closed_doubles_nothing(
    postgres_store: Store, when: str
) -> None:
    writer = begin(postgres_store)
    taken = held(postgres_store, writer.job, add(writer, 1, 6))
    writer.exhaust()
    breaking = Breaking(postgres_store)
    BREAKS[when](breaking)
    closed = postgres_store.retrying(
        lambda: close_chunk(postgres_store, taken, result_of(taken, rejected=[2]))
    )
    assert breaking.broken == 1
    # Where only the answer was lost, the second try meets its own fence: the rows are there.
    assert closed is (when != "after the commit")
    assert value(postgres_store, "SELECT count(*) FROM labeled_texts") == 5
    assert value(postgres_store, "SELECT labeled FROM chunks") == 5
    assert value(postgres_store, "SELECT rejected_worker FROM chunks") == 1
    if closed:
        assert get_job(postgres_store, writer.job).state == "done"


def test_a_closed_chunk_is_not_to_be_had_again(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 3)
    taken = held(store, writer.job, number)
    assert len(unpack(taken.payload)) == 3
    assert close_chunk(store, taken, result_of(taken))
    assert claim(store, facts(store, writer.job, number), number, "worker-2") is None
    assert close_chunk(store, replace(taken, token="0" * 32), result_of(taken)) is False
