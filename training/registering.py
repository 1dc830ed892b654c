"""Register a finished adapter as a version of a named model."""

import getpass
from pathlib import Path

from db.registry.artifacts import ArtifactStore
from db.registry.names import DEFAULT_ALIAS
from db.registry.versions import Version, add_first_version, add_version
from db.store import Store
from worker.adapters import described_version


def register(
    store: Store, artifacts: ArtifactStore, adapter: Path, model: str, *, why: str = "training fit"
) -> Version:
    """Copy the folder `adapter` into the registry and register it under the model's next number.

    The first version of a model becomes its `production`, so that it can be used at once; later
    ones wait to be promoted. Raises `RegistryError` for an incomplete folder, or a registry that
    cannot be written; then nothing is registered.
    """
    location, hashes = artifacts.publish(adapter)
    try:
        new = described_version(adapter, model, location, hashes)
        who = current_user()
        first = add_first_version(store, new, who=who, why=why, alias=DEFAULT_ALIAS)
        return first or add_version(store, new, who=who, why=why)
    except BaseException:
        artifacts.discard(location)
        raise


def current_user() -> str:
    """Return the name of who runs this process, for the registry's events."""
    try:
        return getpass.getuser()
    except (OSError, KeyError):
        # A container's user may have no name.
        return "unknown"
