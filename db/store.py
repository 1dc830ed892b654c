"""The one place that opens the database: engines, transactions, and trying again."""

import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import ConnectionPoolEntry

from db.defaults import LOST_CONNECTION_SECONDS, START_TIMEOUT_SECONDS
from db.errors import ServiceUnavailable, UsageError, hide_password
from db.failures import connection_error, error_kind, may_come_up, may_pass
from db.interrupts import in_one_piece
from db.settings import Settings
from db.tries import LONGEST_PAUSE_SECONDS, Outage, Tell, Tries

__all__ = ["Store", "dump_json", "error_kind", "may_pass", "open_store"]

Result = TypeVar("Result")

#: Seconds that a writer on SQLite waits for the one that writes now.
SQLITE_BUSY_SECONDS = 30.0

#: Pages of 4 KB after which the write-ahead log goes into the file: a page that many chunks change (of
#: an index) is then written there once for all of them.
_CHECKPOINT_PAGES = 8000

#: Seconds between two tries to become the writer: a transaction of ours takes a millisecond or two.
_SHORTEST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.02


def dump_json(value: object) -> str:
    """Write `value` as JSON; never NaN, which PostgreSQL refuses."""
    return orjson.dumps(value).decode()


class Store:
    """A database, SQLite or PostgreSQL, and its transactions.

    `patience` is for how many seconds a transaction is tried again that fails for what may pass.
    Raises `UsageError` for a URL that is none, or names another kind of database.
    """

    def __init__(self, url: str, *, patience: float = LOST_CONNECTION_SECONDS) -> None:
        try:
            parsed = make_url(url)
        except ArgumentError:
            raise UsageError(
                "the database URL cannot be read; write it like "
                "postgresql+psycopg://user:password@host/name or sqlite:////path/file.db"
            ) from None
        if parsed.drivername in ("postgresql", "postgres"):
            parsed = parsed.set(drivername="postgresql+psycopg")
        if parsed.get_backend_name() not in ("sqlite", "postgresql"):
            raise UsageError(
                f"database {parsed.get_backend_name()} is not supported; "
                "use a sqlite:/// or postgresql:// URL"
            )
        self.dialect = parsed.get_backend_name()
        self.url = parsed.render_as_string(hide_password=False)
        #: The URL as people may see it.
        self.name = hide_password(self.url)
        if self.dialect == "sqlite":
            if parsed.database in (None, "", ":memory:"):
                raise UsageError("a database in memory loses every row; name a file")
            Path(str(parsed.database)).parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._of_thread = threading.local()
        self.engine = self._make_engine()
        event.listen(self.engine, "handle_error", _withhold_values)
        self.patience = patience
        self._writing = threading.RLock()
        self._outage = Outage()

    def _make_engine(self) -> Engine:
        common: dict[str, Any] = {
            "hide_parameters": True,
            "json_serializer": dump_json,
            "json_deserializer": json.loads,
            # The connection that was used last has what the next one needs: pages, plans.
            "pool_use_lifo": True,
        }
        if self.dialect == "sqlite":
            engine = create_engine(
                self.url,
                connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
                **common,
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            event.listen(engine, "invalidate", _roll_back_sqlite)
            return engine
        # Imported here: who uses SQLite needs no driver of PostgreSQL.
        from db.postgres import connect_args, ping_first, watch_connections

        engine = create_engine(
            self.url,
            pool_size=8,
            max_overflow=8,
            connect_args=connect_args(make_url(self.url)),
            **common,
        )
        watch_connections(engine)
        ping_first(engine, retries=lambda: self._retries_here)
        return engine

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self._connected() as connection, connection.begin():
            yield connection

    @contextmanager
    def peek(self) -> Iterator[Connection]:
        """Open a connection for statements that only read, and need not be of one moment.

        On PostgreSQL without a transaction, whose begin and end are each a way to the server.
        """
        if self.dialect == "sqlite":
            with self.read() as connection:
                yield connection
        else:
            with self._connected() as connection:
                yield connection.execution_options(isolation_level="AUTOCOMMIT")

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; on SQLite it takes the write lock at once.

        Ctrl-C comes after it, not in its middle: it is as short as every writing transaction.
        """
        with in_one_piece(), self.turn(), self.engine.connect() as connection:
            connection = connection.execution_options(labelstream_write=True)
            with connection.begin():
                yield connection

    @contextmanager
    def turn(self) -> Iterator[None]:
        """Let one thread of this process at a time write to SQLite; it may be taken again within.

        SQLite itself lets those who wait sleep, longer and longer, while the lock is free again.
        What a thread does just before it writes belongs inside: whoever runs Python beside the one
        that writes takes the interpreter from it, while it holds the lock of all processes.
        """
        if self.dialect != "sqlite":
            yield
            return
        # One that holds it for too long is SQLite's to judge.
        taken = self._writing.acquire(timeout=SQLITE_BUSY_SECONDS)
        try:
            yield
        finally:
            if taken:
                self._writing.release()

    @contextmanager
    def _connected(self) -> Iterator[Connection]:
        # Ctrl-C must not strike inside of the pool, which all threads share.
        with in_one_piece():
            connection = self.engine.connect()
        try:
            yield connection
        finally:
            with in_one_piece():
                connection.close()

    def retrying(
        self,
        transaction: Callable[[], Result],
        *,
        seconds: float | None = None,
        on_trouble: Tell | None = None,
        give_up: threading.Event | None = None,
    ) -> Result:
        """Run `transaction` again, with growing pauses, while its failure may pass.

        A lost connection, a lock, a deadlock, a full disk and a read-only database may pass; any
        other error is raised at once. `on_trouble` is told in one line that the database fails,
        and in another that it works again; of many threads that meet the same trouble, one tells.
        Raises `ServiceUnavailable` after `seconds` (None: the patience of this store), or at the
        next failure once `give_up` is set.
        """
        seconds = self.patience if seconds is None else seconds
        with self._retries(), Tries(self.name, self._outage, seconds, on_trouble, give_up) as tries:
            while True:
                try:
                    return transaction()
                except (DBAPIError, PoolTimeoutError) as error:
                    tries.failed(error)

    @property
    def _retries_here(self) -> bool:
        """Whether what this thread does now is tried again when its connection is lost."""
        return getattr(self._of_thread, "retries", False)

    @contextmanager
    def _retries(self) -> Iterator[None]:
        outside = self._retries_here
        self._of_thread.retries = True
        try:
            yield
        finally:
            self._of_thread.retries = outside

    def check(self, seconds: float = START_TIMEOUT_SECONDS) -> None:
        """Connect once, within `seconds`.

        Raises `ServiceUnavailable`, in one line, if the database cannot be reached or opened.
        """
        deadline = time.monotonic() + seconds
        pause = 0.2
        while True:
            try:
                with self.read() as connection:
                    connection.exec_driver_sql("SELECT 1")
                return
            except DBAPIError as error:
                if not may_come_up(error) or time.monotonic() + pause > deadline:
                    what = (
                        "its file and folder may be written and have room"
                        if self.dialect == "sqlite"
                        else "the database runs"
                    )
                    raise ServiceUnavailable(
                        f"database {self.name} cannot be used: {connection_error(error)}; "
                        f"check LABELSTREAM_DATABASE_URL and that {what}"
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


@contextmanager
def driver_cursor(connection: Connection, statement: str) -> Iterator[Any]:
    """Give a cursor of the driver itself, for `statement`, which SQLAlchemy has no words for.

    What the driver raises leaves as SQLAlchemy raises it, and as bare of a row's values.
    """
    dialect = connection.dialect
    driver: Any = dialect.dbapi
    raw = connection.connection
    cursor = raw.cursor()
    try:
        yield cursor
    except driver.Error as error:
        lost = dialect.is_disconnect(error, raw, cursor)
        _first_line_only(error)
        raised = DBAPIError.instance(
            statement,
            None,
            error,
            driver.Error,
            hide_parameters=True,
            connection_invalidated=lost,
            dialect=dialect,
        )
        raise raised from None
    finally:
        with suppress(driver.Error):
            cursor.close()


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name; nothing is connected yet."""
    try:
        return Store(settings.store_url, patience=settings.patience)
    except OSError as error:
        raise UsageError(
            f"folder of the database cannot be made ({error.strerror}): {error.filename}; "
            "set LABELSTREAM_HOME_DIR or LABELSTREAM_DATABASE_URL"
        ) from None


def _withhold_values(context: ExceptionContext) -> None:
    # PostgreSQL tells the failing row after the first line, and `hide_parameters` hides only what
    # SQLAlchemy itself adds.
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None:
            _first_line_only(error)


def _first_line_only(error: BaseException) -> None:
    if error.args and isinstance(error.args[0], str):
        error.args = (error.args[0].partition("\n")[0], *error.args[1:])


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN is deferred and comes too late; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    # A crash of the process loses nothing; one of the machine may lose the last commits, whole.
    cursor.execute("PRAGMA synchronous = NORMAL")
    cursor.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    cursor.execute("PRAGMA foreign_keys = ON")
    cursor.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_SECONDS * 1000)}")
    cursor.close()


def _write_ahead(cursor: sqlite3.Cursor) -> None:
    """Turn the write-ahead log on, if the file has none yet.

    SQLite does not wait here by itself: of two that turn it on at once, one is told that it is busy.
    """
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    while True:
        try:
            if cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
                cursor.execute("PRAGMA journal_mode = WAL")
            return
        except sqlite3.OperationalError as error:
            if not _is_busy(error) or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when somebody wrote between.
    if connection.get_execution_options().get("labelstream_write", False):
        _begin_to_write(connection)
    else:
        connection.exec_driver_sql("BEGIN")


def _begin_to_write(connection: Connection) -> None:
    """Begin to write, waiting for whoever writes now.

    SQLite's own waiting sleeps for longer and longer, up to a tenth of a second, while the lock is
    free again and again: beside a busy worker a producer would get a turn now and then.
    """
    raw = connection.connection.dbapi_connection
    assert isinstance(raw, sqlite3.Connection)  # noqa: S101
    deadline = time.monotonic() + SQLITE_BUSY_SECONDS
    pause = _SHORTEST_PAUSE_SECONDS
    raw.execute("PRAGMA busy_timeout = 0")
    try:
        while time.monotonic() < deadline:
            try:
                raw.execute("BEGIN IMMEDIATE")
            except sqlite3.OperationalError as error:
                if not _is_busy(error):
                    break
            else:
                return
            time.sleep(pause)
            pause = min(pause * 1.05, _LONGEST_PAUSE_SECONDS)
        # What it fails with is raised as SQLAlchemy raises it.
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    finally:
        raw.execute(f"PRAGMA busy_timeout = {int(SQLITE_BUSY_SECONDS * 1000)}")


def _is_busy(error: sqlite3.OperationalError) -> bool:
    return (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY


def _roll_back_sqlite(connection: sqlite3.Connection, *_: object) -> None:
    """End the transaction of a connection that Ctrl-C struck, before it is closed.

    A statement that gave a row and was left there keeps a closed connection, and with it the lock,
    alive for as long as somebody handles the interrupt: everybody else would wait meanwhile.
    """
    with suppress(sqlite3.Error):
        connection.rollback()
