"""The PostgreSQL of the benchmarks: a server of the tests', which may be told to keep what it has."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from db.store import Store
from tests.databases import fresh_database
from tests.services import administer, start_postgres

#: What figures depend on, and is named beside them.
_NAMED = (
    "server_version",
    "shared_buffers",
    "work_mem",
    "max_parallel_workers_per_gather",
    "fsync",
    "synchronous_commit",
)


@contextmanager
def postgres_server(folder: Path, *, durable: bool) -> Iterator[str]:
    """Run a PostgreSQL in `folder`, and give the URL of its maintenance database.

    The server of the tests survives no loss of power; one that is `durable` has PostgreSQL's own
    defaults, which wait for the disk at each commit. A server that the environment names is left as
    it is.
    """
    with start_postgres(folder) as url:
        if durable and not os.environ.get("LABELSTREAM_TEST_DATABASE_URL"):
            administer(url, "ALTER SYSTEM RESET ALL", "SELECT pg_reload_conf()")
        yield url


@contextmanager
def postgres_database(folder: Path, *, durable: bool) -> Iterator[str]:
    """Run such a server, and give the URL of an empty database on it."""
    with postgres_server(folder, durable=durable) as server, fresh_database(server) as url:
        yield url


def settings_of(store: Store) -> dict[str, str]:
    """Return the settings of a server that its figures depend on."""
    with store.read() as connection:
        return {
            name: str(connection.exec_driver_sql(f"SHOW {name}").scalar_one()) for name in _NAMED
        }
