"""Register a finished adapter as a version of a named model."""

import logging
from pathlib import Path

from db.registry.artifacts import ArtifactStore
from db.registry.names import DEFAULT_ALIAS
from db.registry.orphans import sweep_orphans
from db.registry.versions import Version, add_first_version, add_version
from db.store import Store
from training.user import current_user
from worker.adapters import read_version

log = logging.getLogger(__name__)


def register(
    store: Store, artifacts: ArtifactStore, adapter: Path, model: str, *, why: str = "training fit"
) -> Version:
    """Copy the folder `adapter` into the registry and register it under the model's next number.

    The first version of a model becomes its `production`, so that it can be used at once; later
    ones wait to be promoted. Raises `RegistryError` for an incomplete folder, or a registry that
    cannot be written; then nothing is registered.
    """
    if orphans := sweep_orphans(store, artifacts):
        log.info("%s folders of the registry belonged to nothing and were removed", len(orphans))
    location, hashes = artifacts.publish(adapter)
    try:
        new = read_version(adapter, model, location, hashes)
    except BaseException:
        artifacts.discard(location)
        raise
    # From here on nothing is removed: a commit whose answer is lost may well have happened. What
    # no version refers to is swept a day later.
    who = current_user()
    first = add_first_version(store, new, who=who, why=why, alias=DEFAULT_ALIAS)
    return first or add_version(store, new, who=who, why=why)
