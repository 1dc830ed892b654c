"""Making a store ready: its tables, and the starter model in its registry."""

from db.migrate import check_revision, upgrade
from db.registry.artifacts import artifact_store
from db.settings import Settings, open_home
from db.store import Store
from worker.starter import ensure_starter


def prepare(store: Store, settings: Settings) -> None:
    """Migrate `store` and register the starter model, if that has not been done."""
    if settings.database_url is None:
        open_home(settings)
    store.check()
    upgrade(store)
    ensure_starter(store, artifact_store(settings))


def make_ready(store: Store, settings: Settings) -> None:
    """Prepare a store of our own; of one that was configured, only register the starter.

    Its tables are its operator's to migrate. Raises `ServiceUnavailable` for a database that
    cannot be reached, or whose tables are not this version's.
    """
    if settings.database_url is None:
        prepare(store, settings)
        return
    store.check()
    check_revision(store)
    ensure_starter(store, artifact_store(settings))
