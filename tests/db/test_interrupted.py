"""Ctrl-C in the middle of a transaction: the lock goes at once, not when the program forgets it."""

import _thread
import contextlib
import signal
import sqlite3
from collections.abc import Iterator

import pytest
from sqlalchemy import text

from db.store import Store


@pytest.fixture
def ctrl_c() -> Iterator[None]:
    """Ctrl-C raises, wherever these tests run."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def interrupted_step(store: Store) -> None:
    """Be struck by Ctrl-C while a statement runs; it has given a row that nobody fetches any more."""
    with store.write() as connection:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        driver.create_function("interrupt", 0, _thread.interrupt_main)
        connection.execute(
            text(
                "INSERT INTO leases (name, holder, until)"
                " VALUES ('duty', 'me', coalesce(interrupt(), '2026-01-01 00:00:00'))"
                " RETURNING name"
            )
        )


@pytest.mark.usefixtures("ctrl_c")
def test_an_interrupt_in_mid_transaction_leaves_no_lock_behind(sqlite_store: Store) -> None:
    with pytest.raises(KeyboardInterrupt) as raised:
        interrupted_step(sqlite_store)
    # Whoever handles an interrupt still holds the frames it came from, and their cursors.
    assert raised.value.__traceback__ is not None
    path = str(sqlite_store.engine.url.database)
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM leases").fetchone() == (0,)
