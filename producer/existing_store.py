"""Opening the database that an ingest made: the commands that look at jobs make none."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError

from db.errors import ServiceUnavailable, UsageError
from db.migrate import check_revision
from db.settings import get_settings
from db.store import Store, error_kind, open_store


@contextmanager
def existing_store() -> Iterator[Store]:
    """Open the database of the settings for a `with` block, and close it after.

    Raises `UsageError` where SQLite's file does not exist (nothing is created), and
    `ServiceUnavailable` for a database that cannot be reached, has other tables than this
    version's, or fails inside the block.
    """
    settings = get_settings()
    _refuse_missing_file(settings.store_url)
    store = open_store(settings)
    try:
        store.check()
        check_revision(store)
        yield store
    except DBAPIError as error:
        raise ServiceUnavailable(
            f"database {store.name} failed ({error_kind(error)}); "
            "see that it runs and has room, then try again"
        ) from None
    finally:
        store.close()


def _refuse_missing_file(url: str) -> None:
    try:
        parsed = make_url(url)
    except ArgumentError:
        return  # The store tells what is wrong with it.
    if parsed.get_backend_name() != "sqlite" or parsed.database in (None, "", ":memory:"):
        return
    file = Path(str(parsed.database)).absolute()
    try:
        missing = not file.exists()
    except OSError:
        return  # Not ours to read: opening it tells why.
    if missing:
        raise UsageError(f"there is no database yet at {file}; first: producer ingest FILE")
