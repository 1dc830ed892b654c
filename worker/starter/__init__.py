"""The starter model: an adapter that comes with Labelstream and registers itself at first use."""

import logging
from pathlib import Path

from db.defaults import STARTER_MODEL
from db.registry.artifacts import ArtifactStore
from db.registry.names import DEFAULT_ALIAS
from db.registry.versions import add_first_version, list_versions
from db.store import Store
from worker.adapters import read_version

log = logging.getLogger(__name__)

#: The adapter, its label names, its metadata and its model card.
ADAPTER = Path(__file__).parent / "adapter"


def ensure_starter(store: Store, artifacts: ArtifactStore) -> None:
    """Register the starter as version 1 of `emotion`, alias `production`, unless that is done.

    Of several processes that start at once, one registers. Raises `RegistryError` if the
    registry's folder cannot be written.
    """
    if list_versions(store, STARTER_MODEL):
        return
    location, hashes = artifacts.publish(ADAPTER)
    registered = None
    try:
        starter = read_version(ADAPTER, STARTER_MODEL, location, hashes)
        registered = add_first_version(
            store,
            starter,
            who="labelstream",
            why="the starter model, registered at first use",
            alias=DEFAULT_ALIAS,
        )
    finally:
        # Another process was faster, or the database is gone: nothing refers to the folder.
        if registered is None:
            artifacts.discard(location)
    if registered is not None:
        # Not everybody may use what was learnt from this data for everything: said at first use.
        log.warning("model %s is registered; its terms: %s", registered, starter.license)
