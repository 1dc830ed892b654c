"""The versions of named models: immutable, numbered by the registry."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from db.errors import RegistryError
from db.registry.aliases import point_alias, what_there_is
from db.registry.events import insert_event
from db.registry.names import ModelRef, check_model_name
from db.schema import Model, ModelAlias, ModelVersion, table_of
from db.store import Store


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

    def temperature_on(self, engine: str) -> float:
        """Return by what logits of `engine` are divided: fitted on it, else on torch, else 1.

        Engines that agree with torch have nearly its logits.
        """
        return self.temperature.get(engine, self.temperature.get("torch", 1.0))


@dataclass(frozen=True)
class Version(NewVersion):
    """A registered version; immutable but for what is derived from it: merged files, calibration."""

    version: int = 0
    merged: str | None = None
    merged_sha256: Mapping[str, str] | None = None
    state: str = "ready"

    def __str__(self) -> str:
        return f"{self.model}:{self.version}"


_VERSIONS = table_of(ModelVersion)
_ALIASES = table_of(ModelAlias)

# Asked for each chunk.
_BY_NUMBER = select(_VERSIONS).where(
    _VERSIONS.c.model == bindparam("model"), _VERSIONS.c.version == bindparam("of")
)
_BY_ALIAS = (
    select(_VERSIONS)
    .join(
        _ALIASES,
        and_(_ALIASES.c.model == _VERSIONS.c.model, _ALIASES.c.version == _VERSIONS.c.version),
    )
    .where(_ALIASES.c.model == bindparam("model"), _ALIASES.c.alias == bindparam("alias"))
)


def resolve(store: Store, ref: ModelRef) -> Version:
    """Return the version that `ref` names now.

    Raises `RegistryError` naming what there is if it names none, or one whose files were pruned.
    """
    version = find_version(store, ref)
    if version.state != "ready":
        raise RegistryError(f"model {version} is {version.state}: its files are gone")
    return version


def find_version(store: Store, ref: ModelRef) -> Version:
    """Return the version that `ref` names now, be it pruned or not.

    Raises `RegistryError` naming what there is if it names none.
    """
    with store.read() as connection:
        if ref.version is None:
            row = connection.execute(_BY_ALIAS, {"model": ref.model, "alias": ref.alias}).first()
        else:
            row = connection.execute(_BY_NUMBER, {"model": ref.model, "of": ref.version}).first()
        if row is None:
            raise RegistryError(f"there is no model {ref}; {what_there_is(connection)}")
    return _version(row)


def list_versions(store: Store, model: str | None = None) -> list[Version]:
    """Return the versions of `model`, or of all, by name and number."""
    query = select(ModelVersion.__table__).order_by(ModelVersion.model, ModelVersion.version)
    if model is not None:
        query = query.where(ModelVersion.model == model)
    with store.read() as connection:
        return [_version(row) for row in connection.execute(query)]


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


def set_temperature(
    store: Store, version: Version, engine: str, temperature: float, *, who: str
) -> None:
    """Record by which number `version` divides its logits on `engine`, with an event."""
    with store.write() as connection:
        row = _locked(connection, version)
        _update(connection, version, temperature={**row.temperature, engine: temperature})
        why = f"{engine}: temperature {temperature:.4f}"
        insert_event(connection, version.model, version.version, "calibrated", who=who, why=why)


def set_unsure_below(store: Store, version: Version, below: float | None, *, who: str) -> None:
    """Record the confidence below which rows of `version` are marked unsure, with an event."""
    with store.write() as connection:
        _locked(connection, version)
        _update(connection, version, unsure_below=below)
        why = "none" if below is None else f"{below:g}"
        insert_event(connection, version.model, version.version, "threshold set", who=who, why=why)


def _locked(connection: Connection, version: Version) -> Row[Any]:
    return connection.execute(
        select(ModelVersion.__table__)
        .where(ModelVersion.model == version.model, ModelVersion.version == version.version)
        .with_for_update()
    ).one()


def _update(connection: Connection, version: Version, **values: Any) -> None:
    connection.execute(
        update(ModelVersion)
        .where(ModelVersion.model == version.model, ModelVersion.version == version.version)
        .values(**values)
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
    insert_event(connection, new.model, number, "registered", who=who, why=why)
    if alias is not None:
        point_alias(connection, new.model, alias, number, who=who, why=why, event="promoted")
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


def _version(row: Row[Any]) -> Version:
    values = row._mapping
    names = Version.__dataclass_fields__
    chosen = {name: values[name] for name in names}
    chosen["labels"] = tuple(chosen["labels"])
    return Version(**chosen)
