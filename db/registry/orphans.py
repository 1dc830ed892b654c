"""Artifacts that no version refers to: what a killed process left behind."""

from sqlalchemy import select

from db.registry.artifacts import ArtifactStore
from db.schema import EngineBuild, ModelVersion
from db.store import Store

#: Seconds for which a folder is left alone: somebody may be about to register it.
ORPHAN_SECONDS = 24 * 3600.0


def sweep_orphans(store: Store, artifacts: ArtifactStore) -> list[str]:
    """Remove the folders older than a day that no usable version refers to; return their names."""
    # The folders first: one that is registered meanwhile is then among what is referred to.
    old = artifacts.older_than(ORPHAN_SECONDS)
    if not old:
        return []
    referred = _referred(store)
    orphans = [location for location in old if location not in referred]
    for location in orphans:
        artifacts.discard(location)
    return orphans


def _referred(store: Store) -> set[str]:
    versions = select(ModelVersion.adapter, ModelVersion.merged).where(
        ModelVersion.state == "ready"
    )
    with store.read() as connection:
        found = {name for row in connection.execute(versions) for name in row if name is not None}
        found.update(connection.scalars(select(EngineBuild.location)))
    return found
