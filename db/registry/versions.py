"""The registry's rows: versions of named models, and the aliases that point to them."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, exists, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.errors import RegistryError, UsageError
from db.schema import Model, ModelAlias, ModelEvent, ModelVersion
from db.store import Store

#: What a name of a model or an alias may be made of.
_NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}"
_REFERENCE = re.compile(rf"(?P<model>{_NAME})(?:@(?P<alias>{_NAME})|:(?P<version>[1-9][0-9]*))?")

#: The alias that is meant where none is given.
DEFAULT_ALIAS = "production"


@dataclass(frozen=True)
class ModelRef:
    """What a person wrote to name a model: by alias or by version."""

    model: str
    alias: str | None
    version: int | None

    def __str__(self) -> str:
        if self.version is not None:
            return f"{self.model}:{self.version}"
        return f"{self.model}@{self.alias}"


@dataclass(frozen=True)
class NewVersion:
    """What is registered; the number is given by the registry."""

    model: str
    base: str
    base_revision: str | None
    base_sha256: Mapping[str, str]
    adapter: str
    adapter_sha256: Mapping[str, str]
    labels: tuple[str, ...]
    max_length: int
    multi_label: bool = False
    temperature: Mapping[str, float] = field(default_factory=dict)
    unsure_below: float | None = None
    metrics: Mapping[str, Any] = field(default_factory=dict)
    reference: Mapping[str, Any] | None = None
    data: str | None = None
    data_fingerprint: str | None = None
    license: str | None = None
    language: str | None = None
    parent_version: int | None = None
    libraries: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Version(NewVersion):
    """A registered version; immutable but for its derived merged artifact."""

    version: int = 0
    merged: str | None = None
    merged_sha256: Mapping[str, str] | None = None
    state: str = "ready"

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


def parse_ref(text: str) -> ModelRef:
    """Read `emotion`, `emotion@production` or `emotion:1`.

    Raises `UsageError` for anything else.
    """
    match = _REFERENCE.fullmatch(text)
    if match is None:
        raise UsageError(f"{text!r} names no model; write NAME, NAME@ALIAS or NAME:VERSION")
    version = int(match["version"]) if match["version"] else None
    alias = None if version is not None else match["alias"] or DEFAULT_ALIAS
    return ModelRef(match["model"], alias, version)


def check_model_name(name: str) -> None:
    """Raise `UsageError` for what cannot be the name of a model."""
    if re.fullmatch(_NAME, name) is None:
        raise UsageError(
            f"{name!r} cannot be a model's name; use letters, digits, '.', '_' and '-'"
        )


def resolve(store: Store, ref: ModelRef) -> Version:
    """Return the version that `ref` names now.

    Raises `RegistryError` naming what there is if it names none, or one whose files were pruned.
    """
    with store.read() as connection:
        number = ref.version
        if number is None:
            number = connection.scalar(
                select(ModelAlias.version).where(
                    ModelAlias.model == ref.model, ModelAlias.alias == ref.alias
                )
            )
        row = None
        if number is not None:
            row = connection.execute(
                select(ModelVersion.__table__).where(
                    ModelVersion.model == ref.model, ModelVersion.version == number
                )
            ).first()
        if row is None:
            raise RegistryError(f"there is no model {ref}; {_what_there_is(connection)}")
    version = _version(row)
    if version.state != "ready":
        raise RegistryError(f"model {version} is {version.state}: its files are gone")
    return version


def list_versions(store: Store, model: str | None = None) -> list[Version]:
    """Return the versions of `model`, or of all, by name and number."""
    query = select(ModelVersion.__table__).order_by(ModelVersion.model, ModelVersion.version)
    if model is not None:
        query = query.where(ModelVersion.model == model)
    with store.read() as connection:
        return [_version(row) for row in connection.execute(query)]


def list_aliases(store: Store) -> dict[tuple[str, str], int]:
    """Return the version each (model, alias) points to."""
    query = select(ModelAlias.model, ModelAlias.alias, ModelAlias.version)
    with store.read() as connection:
        return {(row.model, row.alias): row.version for row in connection.execute(query)}


def add_version(
    store: Store, new: NewVersion, *, who: str, why: str | None = None, alias: str | None = None
) -> Version:
    """Register `new` under the model's next number; with `alias`, point that alias to it.

    One transaction: the files must be published before, and exist for nobody until it commits.
    """
    with store.write() as connection:
        _make_model(connection, new.model)
        return _insert_version(connection, new, who=who, why=why, alias=alias)


def add_first_version(
    store: Store, new: NewVersion, *, who: str, why: str, alias: str
) -> Version | None:
    """Register `new` as version 1 unless the model has a version already; then return None.

    Of several processes that start at once, one registers.
    """
    with store.write() as connection:
        _make_model(connection, new.model)
        next_version = connection.scalar(
            select(Model.next_version).where(Model.name == new.model).with_for_update()
        )
        if next_version != 1:
            return None
        return _insert_version(connection, new, who=who, why=why, alias=alias)


def set_merged(store: Store, version: Version, location: str, hashes: Mapping[str, str]) -> bool:
    """Record the merged artifact of `version`, in place of the one that `version` shows.

    Returns False, changing nothing, if somebody else has recorded another meanwhile.
    """
    with store.write() as connection:
        return bool(
            connection.execute(
                update(ModelVersion)
                .where(
                    ModelVersion.model == version.model,
                    ModelVersion.version == version.version,
                    ModelVersion.merged.is_not_distinct_from(version.merged),
                )
                .values(merged=location, merged_sha256=dict(hashes))
            ).rowcount
        )


def set_alias(
    store: Store, model: str, alias: str, version: int, *, who: str, why: str | None, event: str
) -> None:
    """Point `alias` to `version` and record the event, in one transaction.

    Raises `RegistryError` naming what there is if there is no such version.
    """
    with store.write() as connection:
        known = exists().where(ModelVersion.model == model, ModelVersion.version == version)
        if not connection.scalar(select(known)):
            raise RegistryError(
                f"there is no model {model}:{version}; {_what_there_is(connection)}"
            )
        _point_alias(connection, model, alias, version, who=who, why=why, event=event)


def record_event(
    store: Store, model: str, version: int | None, event: str, *, who: str, why: str | None
) -> None:
    """Record what happened to a model, such as a version that was refused."""
    with store.write() as connection:
        connection.execute(
            insert(ModelEvent).values(model=model, version=version, event=event, who=who, why=why)
        )


def _insert_version(
    connection: Connection, new: NewVersion, *, who: str, why: str | None, alias: str | None
) -> Version:
    number = connection.scalar(
        update(Model)
        .where(Model.name == new.model)
        .values(next_version=Model.next_version + 1)
        .returning(Model.next_version - 1)
    )
    assert number is not None  # noqa: S101  (the row was made in this transaction)
    values: dict[str, Any] = {
        "model": new.model,
        "version": number,
        "base": new.base,
        "base_revision": new.base_revision,
        "base_sha256": dict(new.base_sha256),
        "adapter": new.adapter,
        "adapter_sha256": dict(new.adapter_sha256),
        "labels": list(new.labels),
        "multi_label": new.multi_label,
        "max_length": new.max_length,
        "temperature": dict(new.temperature),
        "unsure_below": new.unsure_below,
        "metrics": dict(new.metrics),
        "reference": None if new.reference is None else dict(new.reference),
        "data": new.data,
        "data_fingerprint": new.data_fingerprint,
        "license": new.license,
        "language": new.language,
        "parent_version": new.parent_version,
        "libraries": dict(new.libraries),
        "state": "ready",
    }
    connection.execute(insert(ModelVersion).values(**values))
    connection.execute(
        insert(ModelEvent).values(
            model=new.model, version=number, event="registered", who=who, why=why
        )
    )
    if alias is not None:
        _point_alias(connection, new.model, alias, number, who=who, why=why, event="promoted")
    row = connection.execute(
        select(ModelVersion.__table__).where(
            ModelVersion.model == new.model, ModelVersion.version == number
        )
    ).one()
    return _version(row)


def _make_model(connection: Connection, name: str) -> None:
    check_model_name(name)
    upsert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    connection.execute(upsert(Model).values(name=name).on_conflict_do_nothing())


def _point_alias(
    connection: Connection,
    model: str,
    alias: str,
    version: int,
    *,
    who: str,
    why: str | None,
    event: str,
) -> None:
    # The model is locked, not the alias: that may not be there yet.
    connection.execute(
        select(Model.name).where(Model.name == model).with_for_update(key_share=True)
    )
    before = connection.scalar(
        select(ModelAlias.version).where(ModelAlias.model == model, ModelAlias.alias == alias)
    )
    if before is None:
        connection.execute(insert(ModelAlias).values(model=model, alias=alias, version=version))
    else:
        connection.execute(
            update(ModelAlias)
            .where(ModelAlias.model == model, ModelAlias.alias == alias)
            .values(version=version)
        )
    connection.execute(
        insert(ModelEvent).values(
            model=model,
            version=version,
            event=event,
            alias=alias,
            from_version=before,
            who=who,
            why=why,
        )
    )


def _what_there_is(connection: Connection) -> str:
    names = connection.execute(
        select(ModelVersion.model, func.max(ModelVersion.version))
        .group_by(ModelVersion.model)
        .order_by(ModelVersion.model)
        .limit(20)
    ).all()
    if not names:
        return "the registry is empty"
    known = ", ".join(f"{name}:{newest}" for name, newest in names)
    return f"there are (newest versions): {known}"


def _version(row: Row[Any]) -> Version:
    values = row._mapping
    names = Version.__dataclass_fields__
    chosen = {name: values[name] for name in names}
    chosen["labels"] = tuple(chosen["labels"])
    return Version(**chosen)
