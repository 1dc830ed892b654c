"""Waits on PostgreSQL, where rows are locked one by one: what must wait, and what must not."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

import pytest
from sqlalchemy.exc import OperationalError

from db.errors import UsageError
from db.ledger.claiming import look_at
from db.ledger.jobs import list_jobs
from db.ledger.stopping import cancel, purge
from db.ledger.sweeping import Sweep, Sweeper
from db.store import Store, may_pass
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, past, result_of, value
from tests.db.test_sweeping import ListOutbox


@contextmanager
def frozen_before(store: Store, table: str) -> Iterator[None]:
    """Let whoever writes to `table` stop in the middle of its transaction, during the block."""
    with store.write() as connection:
        connection.exec_driver_sql(f"LOCK TABLE {table} IN SHARE MODE")
        yield


def waiting(store: Store) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
    return int(value(store, f"{query} AND datname = current_database()"))


def test_a_worker_frozen_while_it_closes_does_not_hold_up_the_sweeper(
    postgres_store: Store,
) -> None:
    store = postgres_store
    writer = begin(store)
    frozen, dead = (held(store, writer.job, add(writer, first, 2)) for first in (1, 3))
    change(store, f"UPDATE chunks SET lease_until = {past(store, 1)}")
    closing = threading.Thread(target=close_chunk, args=(store, frozen, result_of(frozen)))
    with frozen_before(store, "labeled_texts"):
        closing.start()
        wait_until(lambda: waiting(store) == 1, 20, "the closing is past its fence, and waits")
        began = time.monotonic()
        swept = Sweeper(store, ListOutbox(), "me").sweep()
        assert swept == Sweep(expired=1, resent=1, ended=0)
        assert time.monotonic() - began < 10
        state = look_at(store, writer.job, dead.number)
        assert state is not None
        assert (state.state, state.suspect) == ("queued", True)
    closing.join(30)
    assert value(store, "SELECT state FROM chunks WHERE number = 1") == "done"
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2


def test_a_relabel_that_begins_while_its_texts_are_purged_is_refused(
    postgres_store: Store,
) -> None:
    store = postgres_store
    parent = begin(store)
    taken = held(store, parent.job, add(parent, 1, 2))
    assert close_chunk(store, taken, result_of(taken))
    cancel(store, parent.job)
    outcomes: list[object] = []

    def relabel() -> None:
        try:
            outcomes.append(begin(store, identity="relabel", parent_job=parent.job))
        except UsageError as error:
            outcomes.append(str(error))

    purging = threading.Thread(target=purge, args=(store, parent.job))
    beginning = threading.Thread(target=relabel)
    with frozen_before(store, "labeled_texts"):
        purging.start()
        wait_until(lambda: waiting(store) == 1, 20, "the purge has the job, and waits")
        beginning.start()
        wait_until(lambda: waiting(store) == 2, 20, "the relabel waits for the purge")
    purging.join(30)
    beginning.join(30)
    assert outcomes == [f"job {parent.job} was purged: its texts are gone"]
    assert len(list_jobs(store, 10)) == 1


def test_of_a_purge_and_a_relabel_at_once_one_is_refused(store: Store) -> None:
    for turn in range(10):
        parent = begin(store, identity=f"rows {turn}")
        cancel(store, parent.job)
        relabel = partial(begin, store, identity=f"relabel {turn}", parent_job=parent.job)
        outcomes = at_once([partial(purge, store, parent.job), relabel])
        refused = [outcome for outcome in outcomes if isinstance(outcome, UsageError)]
        assert len(refused) == 1, outcomes


def test_a_statement_that_an_administrator_cancelled_is_no_fault_of_the_row(
    postgres_store: Store,
) -> None:
    store = postgres_store
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 2))
    errors: list[OperationalError] = []

    def close() -> None:
        try:
            close_chunk(store, taken, result_of(taken))
        except OperationalError as error:
            errors.append(error)

    closing = threading.Thread(target=close)
    with frozen_before(store, "labeled_texts"):
        closing.start()
        wait_until(lambda: waiting(store) == 1, 20, "the closing waits")
        change(
            store,
            "SELECT pg_cancel_backend(pid) FROM pg_stat_activity"
            " WHERE wait_event_type = 'Lock' AND datname = current_database()",
        )
        closing.join(30)
    assert len(errors) == 1
    assert may_pass(errors[0])
    assert value(store, "SELECT count(*) FROM rejects") == 0
    assert close_chunk(store, taken, result_of(taken)) is True
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2


@pytest.mark.parametrize("files", [1, 2000])
def test_many_sources_at_once_make_a_scope_that_every_index_can_hold(
    store: Store, files: int
) -> None:
    scope = " ".join(f"/data/{n:08d}/{n * 7_919_191 % 10**12:012d}.csv" for n in range(files))
    writer = begin(store, id_scope=scope)
    taken = held(store, writer.job, add(writer, 1, 2))
    assert close_chunk(store, taken, result_of(taken))
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2
    stored = value(store, "SELECT min(id_scope) FROM labeled_texts")
    assert stored == scope if files == 1 else stored.startswith("/data/00000000/")
    other = begin(store, identity="one file more", id_scope=f"{scope} /data/more.csv")
    assert list_jobs(store, 1)[0].id == other.job
    assert list_jobs(store, 1)[0].id_scope != stored


def test_a_producer_does_not_wait_for_a_worker_that_is_frozen_while_it_closes(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    # The next chunk records that the message of the frozen one was sent.
    monkeypatch.setattr("db.ledger.producing._UNMARKED", 1)
    monkeypatch.setattr("db.ledger.producing._LATEST_SECONDS", 3600.0)
    store = postgres_store
    writer = begin(store)
    frozen = held(store, writer.job, add(writer, 1, 2))
    writer.note_sent(frozen.number)
    closing = threading.Thread(target=close_chunk, args=(store, frozen, result_of(frozen)))
    with frozen_before(store, "labeled_texts"):
        closing.start()
        wait_until(lambda: waiting(store) == 1, 20, "the closing is past its fence, and waits")
        began = time.monotonic()
        added = add(writer, 3, 2)
        writer.renew()
        assert time.monotonic() - began < 10
    closing.join(30)
    states = f"SELECT string_agg(state, ' ' ORDER BY number) FROM chunks WHERE number <= {added}"
    assert value(store, states) == "done queued"
