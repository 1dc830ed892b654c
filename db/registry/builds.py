"""Versions made ready for an engine: derived artifacts, one for each kind of processor."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from sqlalchemy import ColumnElement, delete, insert, select
from sqlalchemy.engine import Connection

from db.errors import RegistryError
from db.registry.events import insert_event, list_events, record_event
from db.registry.versions import Version
from db.schema import EngineBuild, ModelVersion
from db.store import Store


@dataclass(frozen=True)
class BuildKey:
    """Where a build may be used: by this engine of this version, on processors like this."""

    engine: str
    engine_version: str
    cpu_features: str

    def __str__(self) -> str:
        return f"{self.engine} {self.engine_version} on {self.cpu_features}"


#: The event of a version that cannot be built for a kind of processor.
NOT_BUILT = "not built"


@dataclass(frozen=True)
class Build:
    """A build's files, and how near it comes to fp32."""

    location: str
    sha256: Mapping[str, str]
    #: Share of labels that are those of fp32, on the rows that it was checked on.
    agreement: float
    #: Share of labels that are right, where the truth is known.
    accuracy: float | None


def find_build(store: Store, version: Version, key: BuildKey) -> Build | None:
    """Return the build of `version` under `key`; None if there is none."""
    with store.read() as connection:
        return _found(connection, version, key)


def list_builds(store: Store, version: Version) -> list[tuple[BuildKey, Build]]:
    """Return every build of `version`, by engine, its version and processor."""
    query = (
        select(EngineBuild.__table__)
        .where(EngineBuild.model == version.model, EngineBuild.version == version.version)
        .order_by(EngineBuild.engine, EngineBuild.engine_version, EngineBuild.cpu_features)
    )
    with store.read() as connection:
        return [
            (
                BuildKey(row.engine, row.engine_version, row.cpu_features),
                Build(row.location, row.sha256, row.agreement, row.accuracy),
            )
            for row in connection.execute(query)
        ]


def any_build(_there: Build) -> bool:
    """Say yes to every build: whatever is there may be replaced."""
    return True


def record_build(
    store: Store,
    version: Version,
    key: BuildKey,
    build: Build,
    *,
    who: str,
    replaces: Callable[[Build], bool] = any_build,
) -> tuple[str, ...]:
    """Record `build` under `key`, with an event; one that is there is replaced if `replaces` says so.

    Those of older versions of the engine for such processors go: the machines move on to this one,
    and one that is behind still makes its own again, which removes no newer one. Returns the folders
    that nobody refers to then: those of builds that were replaced or went, or that of `build`.
    Raises `RegistryError` for a version whose files were pruned meanwhile.
    """
    with store.write() as connection:
        # One at a time, also where there is no build yet whose row could be locked.
        state = connection.scalar(
            select(ModelVersion.state)
            .where(ModelVersion.model == version.model, ModelVersion.version == version.version)
            .with_for_update()
        )
        if state != "ready":
            raise RegistryError(f"model {version} is {state} by now: its files are gone")
        before = _found(connection, version, key)
        if before is not None and not replaces(before):
            return (build.location,)
        unused = _drop(connection, version, [key, *_older(connection, version, key)])
        connection.execute(
            insert(EngineBuild).values(
                model=version.model,
                version=version.version,
                engine=key.engine,
                engine_version=key.engine_version,
                cpu_features=key.cpu_features,
                location=build.location,
                sha256=dict(build.sha256),
                agreement=build.agreement,
                accuracy=build.accuracy,
            )
        )
        why = f"{key.engine} {key.engine_version}: {build.agreement:.2%} of labels as fp32"
        insert_event(connection, version.model, version.version, "built", who=who, why=why)
    return unused


def record_not_built(
    store: Store, version: Version, key: BuildKey, reason: str, *, who: str
) -> None:
    """Record that `version` cannot be built under `key`, so that nobody tries it again by itself."""
    why = f"{key}: {reason}"
    record_event(store, version.model, version.version, NOT_BUILT, who=who, why=why)


def cannot_be_built(store: Store, version: Version, key: BuildKey) -> bool:
    """Whether it was found that `version` cannot be built under `key`."""
    return any(
        event.event == NOT_BUILT and (event.why or "").startswith(f"{key}: ")
        for event in list_events(store, version.model, version.version)
    )


def _found(connection: Connection, version: Version, key: BuildKey) -> Build | None:
    row = connection.execute(
        select(EngineBuild.__table__).where(*_under(version, key))
    ).one_or_none()
    if row is None:
        return None
    return Build(row.location, row.sha256, row.agreement, row.accuracy)


def _older(connection: Connection, version: Version, key: BuildKey) -> list[BuildKey]:
    """Return the keys of builds for processors as `key` has them, by older versions of its engine."""
    found = connection.scalars(
        select(EngineBuild.engine_version).where(
            EngineBuild.model == version.model,
            EngineBuild.version == version.version,
            EngineBuild.engine == key.engine,
            EngineBuild.cpu_features == key.cpu_features,
        )
    )
    ours = _release(key.engine_version)
    return [replace(key, engine_version=each) for each in found if _release(each) < ours]


def _release(engine_version: str) -> tuple[int, ...]:
    """Return the numbers that a version begins with; two builds of one release are equal."""
    begin = re.match(r"\d+(?:\.\d+)*", engine_version)
    return tuple(map(int, begin[0].split("."))) if begin else ()


def _drop(connection: Connection, version: Version, keys: list[BuildKey]) -> tuple[str, ...]:
    """Remove the rows of the builds under `keys`; return their folders."""
    return tuple(
        location
        for key in keys
        for location in connection.scalars(
            delete(EngineBuild).where(*_under(version, key)).returning(EngineBuild.location)
        )
    )


def _under(version: Version, key: BuildKey) -> tuple[ColumnElement[bool], ...]:
    return (
        EngineBuild.model == version.model,
        EngineBuild.version == version.version,
        EngineBuild.engine == key.engine,
        EngineBuild.engine_version == key.engine_version,
        EngineBuild.cpu_features == key.cpu_features,
    )
