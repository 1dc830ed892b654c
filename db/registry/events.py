"""What happened to the models: who registered, promoted, rolled back or refused what, when, why."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, insert, select

from db.schema import ModelEvent
from db.store import Store

#: A worker could not load a version; `why` says what is wrong with it.
REFUSED = "refused"


@dataclass(frozen=True)
class Event:
    """One event; `alias` and `from_version` are set where an alias moved."""

    model: str
    version: int | None
    event: str
    alias: str | None
    from_version: int | None
    who: str
    why: str | None
    at: datetime


def record_event(
    store: Store, model: str, version: int | None, event: str, *, who: str, why: str | None
) -> None:
    """Record what happened to a model, such as a version that was refused."""
    with store.write() as connection:
        insert_event(connection, model, version, event, who=who, why=why)


def insert_event(
    connection: Connection,
    model: str,
    version: int | None,
    event: str,
    *,
    who: str,
    why: str | None,
    alias: str | None = None,
    from_version: int | None = None,
) -> None:
    """Record an event in the transaction of what it tells of."""
    connection.execute(
        insert(ModelEvent).values(
            model=model,
            version=version,
            event=event,
            alias=alias,
            from_version=from_version,
            who=who,
            why=why,
        )
    )


def list_events(store: Store, model: str, version: int | None = None) -> list[Event]:
    """Return the events of `model`, or of one of its versions, oldest first."""
    query = _events().where(ModelEvent.model == model)
    if version is not None:
        query = query.where(ModelEvent.version == version)
    with store.read() as connection:
        return [Event(*row) for row in connection.execute(query)]


def last_refusals(store: Store) -> dict[tuple[str, int], Event]:
    """Return the newest refusal of each version that was ever refused."""
    query = _events().where(ModelEvent.event == REFUSED, ModelEvent.version.is_not(None))
    with store.read() as connection:
        found = [Event(*row) for row in connection.execute(query)]
    return {(each.model, each.version): each for each in found if each.version is not None}


def _events() -> Select[Any]:
    columns = (getattr(ModelEvent, name) for name in Event.__dataclass_fields__)
    return select(*columns).order_by(ModelEvent.id)
