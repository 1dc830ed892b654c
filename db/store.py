"""The one place that opens the database: engines, transactions, and trying again."""

import json
import random
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import orjson
from sqlalchemy import Connection, Engine, ExceptionContext, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from db.defaults import LOST_CONNECTION_SECONDS, START_TIMEOUT_SECONDS
from db.errors import ServiceUnavailable, UsageError, hide_password, one_line
from db.settings import Settings

Result = TypeVar("Result")

#: Seconds that a writer on SQLite waits for the one that writes now.
SQLITE_BUSY_SECONDS = 30.0

#: Longest pause between two tries; the pauses double from a tenth of a second up to it.
LONGEST_PAUSE_SECONDS = 5.0

#: SQLSTATE classes and codes of PostgreSQL after which the same transaction may succeed: lost
#: connection (08), deadlock and serialisation failure (40), disk full and too many connections
#: (53), cancelled by a time limit or an administrator (57014), shutdown (57P), input or output
#: failed (58), lock not available (55P03), read-only transaction (25006).
_PASSING_CLASSES = ("08", "40", "53", "57P", "58")
_PASSING_CODES = ("55P03", "25006", "57014")

#: Result codes of SQLite after which the same transaction may succeed.
_PASSING_SQLITE = {
    sqlite3.SQLITE_BUSY,
    sqlite3.SQLITE_LOCKED,
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}


def dump_json(value: object) -> str:
    """Write `value` as JSON; never NaN, which PostgreSQL refuses."""
    return orjson.dumps(value).decode()


class Store:
    """A database, SQLite or PostgreSQL, and its transactions.

    Raises `UsageError` for a URL that is none, or names another kind of database.
    """

    def __init__(self, url: str) -> None:
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
        self.engine = self._make_engine()
        event.listen(self.engine, "handle_error", _withhold_values)

    def _make_engine(self) -> Engine:
        common: dict[str, Any] = {
            "hide_parameters": True,
            "json_serializer": dump_json,
            "json_deserializer": json.loads,
        }
        if self.dialect == "sqlite":
            engine = create_engine(
                self.url,
                connect_args={"timeout": SQLITE_BUSY_SECONDS, "check_same_thread": False},
                **common,
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
            return engine
        return create_engine(
            self.url,
            pool_size=8,
            max_overflow=8,
            pool_pre_ping=True,
            connect_args={
                "connect_timeout": 5,
                "application_name": "labelstream",
                "options": "-c timezone=UTC -c lock_timeout=60s",
            },
            **common,
        )

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a transaction that only reads."""
        with self.engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Open a transaction that writes; on SQLite it takes the write lock at once."""
        with self.engine.connect() as connection:
            connection = connection.execution_options(labelstream_write=True)
            with connection.begin():
                yield connection

    def retrying(
        self,
        transaction: Callable[[], Result],
        *,
        seconds: float = LOST_CONNECTION_SECONDS,
        on_first_failure: Callable[[str], None] | None = None,
        give_up: threading.Event | None = None,
    ) -> Result:
        """Run `transaction` again, with growing pauses, while its failure may pass.

        A lost connection, a lock, a deadlock, a full disk and a read-only database may pass; any
        other error is raised at once. `on_first_failure` is told once, in one line. Raises
        `ServiceUnavailable` after `seconds`, or when `give_up` is set.
        """
        deadline = time.monotonic() + seconds
        pause = 0.1
        told = False
        while True:
            try:
                return transaction()
            except DBAPIError as error:
                if not may_pass(error):
                    raise
                reason = error_kind(error)
                if time.monotonic() + pause > deadline or (give_up and give_up.is_set()):
                    raise ServiceUnavailable(
                        f"database {self.name} failed for {seconds:.0f} s ({reason}); "
                        "see that it runs and has room, then continue the job"
                    ) from None
            if on_first_failure and not told:
                told = True
                on_first_failure(f"database {self.name}: {reason}; trying again")
            wait = pause * random.uniform(0.5, 1.0)  # noqa: S311
            if give_up:
                give_up.wait(wait)
            else:
                time.sleep(wait)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

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
                if not _may_come_up(error) or time.monotonic() + pause > deadline:
                    raise ServiceUnavailable(
                        f"database {self.name} cannot be used: {connection_error(error)}; "
                        "check LABELSTREAM_DATABASE_URL and that the database runs"
                    ) from None
            time.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_SECONDS)

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()


def open_store(settings: Settings) -> Store:
    """Return the store that the settings name; nothing is connected yet."""
    try:
        return Store(settings.store_url)
    except OSError as error:
        raise UsageError(
            f"folder of the database cannot be made ({error.strerror}): {error.filename}; "
            "set LABELSTREAM_HOME_DIR or LABELSTREAM_DATABASE_URL"
        ) from None


def may_pass(error: DBAPIError) -> bool:
    """Whether the transaction that failed with `error` may succeed when it is run again."""
    if error.connection_invalidated:
        return True
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in _PASSING_SQLITE
    state = getattr(error.orig, "sqlstate", None)
    if state is not None:
        return state.startswith(_PASSING_CLASSES) or state in _PASSING_CODES
    # psycopg has no state where the server could not be asked for one: the connection is gone.
    return isinstance(error, OperationalError | InterfaceError)


def _may_come_up(error: DBAPIError) -> bool:
    """Whether connecting may succeed a little later: a server starts, a file is held by another."""
    code = getattr(error.orig, "sqlite_errorcode", None)
    if code is not None:
        return (code & 0xFF) in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED)
    return isinstance(error, OperationalError | InterfaceError)


def error_kind(error: DBAPIError) -> str:
    """Name `error` without anything of the statement or its values, which may be a row's text."""
    code = getattr(error.orig, "sqlite_errorname", None) or getattr(error.orig, "sqlstate", None)
    return f"{type(error.orig).__name__} {code}" if code else type(error.orig).__name__


def connection_error(error: DBAPIError) -> str:
    """Tell why connecting failed; no statement was sent, so the driver's words hold no text."""
    return one_line(error.orig) if error.orig else error_kind(error)


def _withhold_values(context: ExceptionContext) -> None:
    # PostgreSQL tells the failing row after the first line, and `hide_parameters` hides only what
    # SQLAlchemy itself adds.
    for error in (context.original_exception, context.sqlalchemy_exception):
        if error is not None and error.args and isinstance(error.args[0], str):
            error.args = (error.args[0].partition("\n")[0], *error.args[1:])


def _prepare_sqlite(connection: sqlite3.Connection, _: ConnectionPoolEntry) -> None:
    # The driver's own BEGIN is deferred and comes too late; `_begin_sqlite` does it instead.
    connection.isolation_level = None
    cursor = connection.cursor()
    _write_ahead(cursor)
    # A crash of the process loses nothing; one of the machine may lose the last commits, whole.
    cursor.execute("PRAGMA synchronous = NORMAL")
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
            busy = (error.sqlite_errorcode & 0xFF) == sqlite3.SQLITE_BUSY
            if not busy or time.monotonic() > deadline:
                raise
        time.sleep(0.01)


def _begin_sqlite(connection: Connection) -> None:
    # A deferred transaction that reads and then writes fails at once when somebody wrote between.
    writes = connection.get_execution_options().get("labelstream_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
