"""Register a finished adapter as a version of a named model."""

import logging
from pathlib import Path

from db.registry.artifacts import ArtifactStore
from db.registry.names import DEFAULT_ALIAS
from db.registry.orphans import sweep_orphans
from db.registry.versions import (
    NewVersion,
    Version,
    add_first_version,
    add_version,
    list_versions,
)
from db.store import Store
from training.patience import patiently
from training.user import current_user
from worker.adapters import read_version

log = logging.getLogger(__name__)


def register(
    store: Store, artifacts: ArtifactStore, adapter: Path, model: str, *, why: str = "training fit"
) -> Version:
    """Copy the folder `adapter` into the registry and register it under the model's next number.

    The first version of a model becomes its `production`, so that it can be used at once; later
    ones wait to be promoted. Raises `RegistryError` for an incomplete folder, or a registry that
    cannot be written, and `ServiceUnavailable` for a database that fails for longer than the
    patience; then nothing is registered.
    """
    if orphans := patiently(store, lambda: sweep_orphans(store, artifacts)):
        log.info("%s folders of the registry belonged to nothing and were removed", len(orphans))
    location, hashes = artifacts.publish(adapter)
    try:
        new = read_version(adapter, model, location, hashes)
    except BaseException:
        artifacts.discard(location)
        raise
    # From here on nothing is removed: a commit whose answer is lost may well have happened. What
    # no version refers to is swept a day later.
    return patiently(store, lambda: _add(store, new, why))


def _add(store: Store, new: NewVersion, why: str) -> Version:
    """Register `new`, once: a commit before this try may have come through, its answer not."""
    for known in list_versions(store, new.model):
        if known.adapter == new.adapter:
            return known
    who = current_user()
    first = add_first_version(store, new, who=who, why=why, alias=DEFAULT_ALIAS)
    return first or add_version(store, new, who=who, why=why)
