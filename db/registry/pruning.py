"""Old versions give their files back; what they labelled goes on naming them."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from db.errors import RegistryError
from db.registry.aliases import lock_model
from db.registry.artifacts import ArtifactStore
from db.registry.events import insert_event
from db.registry.names import parse_ref
from db.schema import EngineBuild, Job, ModelAlias, ModelVersion
from db.store import Store


@dataclass(frozen=True)
class Pruned:
    """What a pruning did: the versions whose files went, and why others beyond `keep` stayed."""

    gone: tuple[int, ...]
    kept: dict[int, str]


def prune(store: Store, artifacts: ArtifactStore, model: str, *, keep: int, who: str) -> Pruned:
    """Remove the files of all but the newest `keep` usable versions of `model`.

    Their rows stay, in state `pruned`. A version that an alias points to, or that an unfinished
    job asks for by its number, stays whole. Raises `RegistryError` if there is no such model.
    """
    locations: list[str] = []
    with store.write() as connection:
        # Whoever promotes one of them waits here, and then finds it pruned.
        if not lock_model(connection, model):
            raise RegistryError(f"there is no model {model}: see training versions")
        ready = connection.execute(
            select(ModelVersion.version, ModelVersion.adapter, ModelVersion.merged)
            .where(ModelVersion.model == model, ModelVersion.state == "ready")
            .order_by(ModelVersion.version.desc())
        ).all()
        needed = _needed(connection, model)
        beyond = ready[keep:]
        gone = tuple(sorted(row.version for row in beyond if row.version not in needed))
        for row in beyond:
            if row.version in needed:
                continue
            locations += [name for name in (row.adapter, row.merged) if name is not None]
            locations += _drop_builds(connection, model, row.version)
            connection.execute(
                update(ModelVersion)
                .where(ModelVersion.model == model, ModelVersion.version == row.version)
                .values(state="pruned")
            )
            insert_event(
                connection, model, row.version, "pruned", who=who, why=f"kept the newest {keep}"
            )
    # After the commit: a kill in between leaves folders that nothing refers to, and those are
    # swept. The other way round it would leave a version without its files.
    for location in locations:
        artifacts.discard(location)
    kept = {row.version: needed[row.version] for row in beyond if row.version in needed}
    return Pruned(gone, kept)


def _needed(connection: Connection, model: str) -> dict[int, str]:
    """Return the versions that must keep their files, with the reason."""
    reasons: dict[int, str] = {}
    running = connection.execute(
        select(Job.id, Job.model_ref).where(Job.model == model, Job.state == "running")
    ).all()
    for job, asked in running:
        number = parse_ref(asked).version
        if number is not None:
            reasons[number] = f"job {job} asks for it"
    aliases = connection.execute(
        select(ModelAlias.version, ModelAlias.alias).where(ModelAlias.model == model)
    )
    reasons.update({version: f"{alias} points to it" for version, alias in aliases})
    return reasons


def _drop_builds(connection: Connection, model: str, version: int) -> list[str]:
    return list(
        connection.scalars(
            delete(EngineBuild)
            .where(EngineBuild.model == model, EngineBuild.version == version)
            .returning(EngineBuild.location)
        )
    )
