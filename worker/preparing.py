"""Making a store of our own ready: its tables, and the starter model in its registry."""

from db.migrate import upgrade
from db.settings import Settings, open_home
from db.store import Store
from worker.starter import ensure_starter


def prepare(store: Store, settings: Settings) -> None:
    """Migrate `store` and register the starter model, if that has not been done."""
    if settings.database_url is None:
        open_home(settings)
    store.check()
    upgrade(store)
    ensure_starter(store, settings.registry)
