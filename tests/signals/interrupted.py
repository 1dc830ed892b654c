"""Ctrl-C and TERM in mid-transaction: a step ends whole, and no lock is left behind."""

import _thread
import contextlib
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator

import pytest
from sqlalchemy import text

from db.interrupts import in_one_piece, interrupt
from db.ledger.sweeping import ChunkId
from db.store import Store
from tests.db.ledger_parts import value
from worker.outbox import CeleryOutbox

INSERT = "INSERT INTO leases (name, holder, until) VALUES ('duty', 'me', '2026-01-01 00:00:00+00')"


@contextlib.contextmanager
def handled_by(handler: Callable[..., object]) -> Iterator[None]:
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


@pytest.fixture
def between_steps() -> Iterator[None]:
    """Ctrl-C as the producer handles it."""
    with handled_by(interrupt):
        yield


def ctrl_c() -> None:
    # To this thread: one for the process may reach another thread first, and this one too late, in the
    # middle of pytest itself.
    signal.pthread_kill(threading.main_thread().ident or 0, signal.SIGINT)


@pytest.mark.usefixtures("between_steps")
def test_outside_of_a_step_an_interrupt_comes_at_once() -> None:
    with pytest.raises(KeyboardInterrupt):
        ctrl_c()


@pytest.mark.usefixtures("between_steps")
def test_a_step_is_finished_before_the_interrupt_comes() -> None:
    done: list[str] = []

    def steps() -> None:
        with in_one_piece():
            with in_one_piece():
                ctrl_c()
                done.append("inner")
            done.append("outer")
        done.append("after it")

    with pytest.raises(KeyboardInterrupt):
        steps()
    assert done == ["inner", "outer"]
    # It came once; the next step is not struck by it.
    with in_one_piece():
        pass


@pytest.mark.usefixtures("between_steps")
def test_the_second_interrupt_does_not_wait() -> None:
    done: list[str] = []

    def step() -> None:
        with in_one_piece():
            ctrl_c()
            done.append("one")
            ctrl_c()
            done.append("two")

    with pytest.raises(KeyboardInterrupt):
        step()
    assert done == ["one"]


@pytest.mark.usefixtures("between_steps")
def test_a_step_of_another_thread_holds_nothing_back() -> None:
    inside, leave = threading.Event(), threading.Event()

    def other() -> None:
        with in_one_piece():
            inside.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    assert inside.wait(60)
    try:
        with pytest.raises(KeyboardInterrupt):
            ctrl_c()
    finally:
        leave.set()
        thread.join(60)


@pytest.mark.usefixtures("between_steps")
def test_a_transaction_is_committed_whole_before_the_interrupt_comes(store: Store) -> None:
    def transaction() -> None:
        with store.write() as connection:
            ctrl_c()
            connection.execute(text(INSERT))

    with pytest.raises(KeyboardInterrupt):
        store.retrying(transaction)
    assert value(store, "SELECT holder FROM leases WHERE name = 'duty'") == "me"


@pytest.mark.usefixtures("between_steps")
def test_a_long_read_is_left_at_once(store: Store) -> None:
    rows = 0

    def read() -> None:
        nonlocal rows
        with store.read() as connection:
            for _ in connection.execute(text("SELECT 1 UNION SELECT 2 UNION SELECT 3")):
                rows += 1
                ctrl_c()

    with pytest.raises(KeyboardInterrupt):
        read()
    assert rows == 1


class App:
    """Stands for Celery's: Ctrl-C strikes inside of it."""

    def __init__(self) -> None:
        self.sent = 0

    def send_task(self, *_: object, **__: object) -> None:
        ctrl_c()
        self.sent += 1


@pytest.mark.usefixtures("between_steps")
def test_a_message_is_sent_whole_before_the_interrupt_comes() -> None:
    app = App()
    with pytest.raises(KeyboardInterrupt):
        CeleryOutbox(app, "ledger").send(ChunkId(1, 1, "labelstream"))
    assert app.sent == 1


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


def test_where_it_strikes_in_mid_transaction_no_lock_is_left_behind(sqlite_store: Store) -> None:
    with handled_by(signal.default_int_handler), pytest.raises(KeyboardInterrupt) as raised:
        interrupted_step(sqlite_store)
    # Whoever handles an interrupt still holds the frames it came from, and their cursors.
    assert raised.value.__traceback__ is not None
    path = str(sqlite_store.engine.url.database)
    with contextlib.closing(sqlite3.connect(path, timeout=0)) as other:
        other.execute("BEGIN IMMEDIATE")
        assert other.execute("SELECT count(*) FROM leases").fetchone() == (0,)
