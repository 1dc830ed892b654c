"""The registry that the settings name, open: its rows and its files."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from db.registry.artifacts import ArtifactStore
    from db.registry.versions import Version
    from db.settings import Settings
    from db.store import Store


@dataclass(frozen=True)
class Registry:
    """An open registry."""

    settings: Settings
    store: Store
    artifacts: ArtifactStore

    def production(self, model: str) -> Version | None:
        """Return the version of `model` in production; None if there is none."""
        from db.registry.aliases import list_aliases
        from db.registry.names import DEFAULT_ALIAS, ModelRef
        from db.registry.versions import resolve

        number = list_aliases(self.store).get((model, DEFAULT_ALIAS))
        return None if number is None else resolve(self.store, ModelRef(model, None, number))


@contextmanager
def open_registry() -> Iterator[Registry]:
    """Open the registry of the settings, with its tables and the starter model in place."""
    from db.registry.artifacts import artifact_store
    from db.settings import get_settings
    from db.store import open_store
    from worker.preparing import make_ready

    settings = get_settings()
    store = open_store(settings)
    try:
        make_ready(store, settings)
        yield Registry(settings, store, artifact_store(settings))
    finally:
        store.close()
