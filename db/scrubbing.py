"""Making deleted rows unreadable in SQLite's files, where deleting only marks their bytes free."""

import sqlite3
import time

from db.errors import ServiceUnavailable
from db.store import Store

#: Seconds that other connections are given to let go of an old snapshot.
PATIENCE_SECONDS = 30.0

#: Seconds between two tries to empty the log.
_PAUSE_SECONDS = 0.05


def scrub(store: Store, seconds: float = PATIENCE_SECONDS) -> None:
    """Rewrite SQLite's file without anything that was deleted, and empty its write-ahead log.

    Needs as much room again as the database has, and holds up writers meanwhile. Does nothing on
    PostgreSQL, whose own vacuum frees the space. Raises `ServiceUnavailable` if it could not be
    done; what was deleted stays deleted, and it may be run again.
    """
    if store.dialect != "sqlite":
        return
    # Neither statement may stand in a transaction, and the engine begins one always.
    pooled = store.engine.raw_connection()
    try:
        connection = pooled.dbapi_connection
        assert isinstance(connection, sqlite3.Connection)  # noqa: S101
        try:
            connection.execute(f"PRAGMA busy_timeout = {int(seconds * 1000)}")
            connection.execute("VACUUM")
            _empty_log(store, connection, seconds)
        except sqlite3.Error as error:
            raise ServiceUnavailable(
                f"{_still_there(store)} ({getattr(error, 'sqlite_errorname', 'SQLite error')}); "
                "see that there is room and that nobody else writes, then purge again"
            ) from None
    finally:
        # It would go back to the pool with the patience of this function.
        pooled.invalidate()
        pooled.close()


def _empty_log(store: Store, connection: sqlite3.Connection, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    # SQLite waits for readers by itself, but gives up at once while another connection, such as a
    # worker's after a commit, is copying the log into the file.
    while connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
        if time.monotonic() > deadline:
            raise ServiceUnavailable(
                f"{_still_there(store)} (another program reads it); "
                "close what reads the database, then purge again"
            )
        time.sleep(_PAUSE_SECONDS)


def _still_there(store: Store) -> str:
    return (
        f"the rows are deleted, but their bytes may still stand in the file of {store.name}, "
        "which could not be rewritten"
    )
