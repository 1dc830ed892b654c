"""Bringing a database to this version's tables, and refusing one that does not fit."""

import time
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

from db.errors import ServiceUnavailable
from db.failures import error_kind, is_contention
from db.store import Store

#: Seconds before each new try of an upgrade that waited for others while they waited for it.
_PAUSES_SECONDS = (0.5, 1.0, 2.0, 4.0)

#: Key of PostgreSQL's advisory lock, so that two migrations at once run one after the other:
#: "lbst" as a number.
_ADVISORY_LOCK = 0x6C627374


def _config(connection: Connection | None = None) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    config.attributes["connection"] = connection
    return config


def newest_revision() -> str:
    """Return the revision that this version of the code needs."""
    head = ScriptDirectory.from_config(_config()).get_current_head()
    assert head is not None  # noqa: S101  (the package carries its steps)
    return head


def current_revision(store: Store) -> str | None:
    """Return the revision of the database; None before its first migration."""
    with store.read() as connection:
        return MigrationContext.configure(connection).get_current_revision()


def upgrade(store: Store) -> bool:
    """Bring the tables of `store` to this version's; return whether anything was done.

    The whole upgrade is one transaction; of two at once the second finds nothing to do. It waits for
    whoever works with the tables, and is tried again where both wait for each other. Raises
    `ServiceUnavailable` for a database that is newer than this code or cannot be written.
    """
    before = current_revision(store)
    if before == newest_revision():
        return False
    _refuse_newer(store, before)
    for pause in (*_PAUSES_SECONDS, None):
        try:
            _upgrade(store)
        except DBAPIError as error:
            if pause is None or not is_contention(error):
                raise ServiceUnavailable(
                    f"database {store.name} could not be migrated ({error_kind(error)}); "
                    "see that its user may create tables, that there is room, and that nobody "
                    "works with the tables meanwhile"
                ) from None
            time.sleep(pause)
        else:
            break
    return True


def _upgrade(store: Store) -> None:
    with store.write() as connection:
        if store.dialect == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
        command.upgrade(_config(connection), "head")


def check_revision(store: Store) -> None:
    """Raise `ServiceUnavailable` unless the tables of `store` are this version's."""
    current = current_revision(store)
    if current == newest_revision():
        return
    _refuse_newer(store, current)
    raise ServiceUnavailable(
        f"database {store.name} has {'older tables' if current else 'no tables yet'}; "
        "run: python -m db upgrade"
    )


def _refuse_newer(store: Store, current: str | None) -> None:
    known = {step.revision for step in ScriptDirectory.from_config(_config()).walk_revisions()}
    if current is not None and current not in known:
        raise ServiceUnavailable(
            f"database {store.name} was migrated by a newer Labelstream (revision {current}); "
            "update this installation"
        )
