"""What an error of the database means: whether it may pass, and how people are told of it."""

import sqlite3

from sqlalchemy.exc import DBAPIError, InterfaceError, OperationalError

from db.errors import one_line

#: SQLSTATE classes and codes of PostgreSQL after which the same transaction may succeed: lost
#: connection (08), deadlock and serialisation failure (40), disk full and too many connections
#: (53), cancelled by a time limit or an administrator (57014), shutdown (57P), input or output
#: failed (58), lock not available (55P03), read-only transaction (25006).
_PASSING_CLASSES = ("08", "40", "53", "57P", "58")
_PASSING_CODES = ("55P03", "25006", "57014")

#: Those of them that only say that others were there first.
_CONTENTION_CLASSES = ("40",)
_CONTENTION_CODES = ("55P03", "57014")

#: Result codes of SQLite after which the same transaction may succeed.
_CONTENTION_SQLITE = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_PASSING_SQLITE = _CONTENTION_SQLITE | {
    sqlite3.SQLITE_FULL,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CANTOPEN,
}


def may_pass(error: DBAPIError) -> bool:
    """Whether the transaction that failed with `error` may succeed when it is run again."""
    if error.connection_invalidated:
        return True
    code = _sqlite_code(error)
    if code is not None:
        return code in _PASSING_SQLITE
    state = _sqlstate(error)
    if state is not None:
        return state.startswith(_PASSING_CLASSES) or state in _PASSING_CODES
    # psycopg has no state where the server could not be asked for one: the connection is gone.
    return isinstance(error, OperationalError | InterfaceError)


def may_come_up(error: DBAPIError) -> bool:
    """Whether connecting may succeed a little later: a server starts, a file is held by another."""
    code = _sqlite_code(error)
    if code is not None:
        return code in _CONTENTION_SQLITE
    return isinstance(error, OperationalError | InterfaceError)


def is_contention(error: DBAPIError) -> bool:
    """Whether nothing is wrong but that others were at the same rows, or file, first."""
    code = _sqlite_code(error)
    if code is not None:
        return code in _CONTENTION_SQLITE
    state = _sqlstate(error) or ""
    return state.startswith(_CONTENTION_CLASSES) or state in _CONTENTION_CODES


def error_kind(error: DBAPIError) -> str:
    """Name `error` without anything of the statement or its values, which may be a row's text."""
    code = getattr(error.orig, "sqlite_errorname", None) or _sqlstate(error)
    return f"{type(error.orig).__name__} {code}" if code else type(error.orig).__name__


def connection_error(error: DBAPIError) -> str:
    """Tell why connecting failed; no statement was sent, so the driver's words hold no text."""
    return one_line(error.orig) if error.orig else error_kind(error)


def _sqlite_code(error: DBAPIError) -> int | None:
    """Return the primary result code of SQLite; None for an error that is not SQLite's."""
    code: int | None = getattr(error.orig, "sqlite_errorcode", None)
    return None if code is None else code & 0xFF


def _sqlstate(error: DBAPIError) -> str | None:
    state: str | None = getattr(error.orig, "sqlstate", None)
    return state
