"""Aliases such as `production`: which version they point to, and how they move."""

from sqlalchemy import Connection, func, insert, select, update

from db.errors import RegistryError
from db.registry.events import insert_event
from db.registry.names import DEFAULT_ALIAS, check_model_name
from db.schema import Model, ModelAlias, ModelEvent, ModelVersion
from db.store import Store

PROMOTED = "promoted"
ROLLED_BACK = "rolled back"


def list_aliases(store: Store) -> dict[tuple[str, str], int]:
    """Return the version each (model, alias) points to."""
    query = select(ModelAlias.model, ModelAlias.alias, ModelAlias.version)
    with store.read() as connection:
        return {(row.model, row.alias): row.version for row in connection.execute(query)}


def promote(
    store: Store,
    model: str,
    version: int,
    *,
    who: str,
    why: str | None,
    alias: str = DEFAULT_ALIAS,
    instead_of: int | None = None,
) -> bool:
    """Point `alias` to `version` and record who did it and why, in one transaction.

    With `instead_of`, only if it points to that version now (0: to none). Returns False, recording
    nothing, if it points to `version` already. Raises `RegistryError` naming what there is if
    there is no such version, one whose files were pruned, or another than `instead_of` in place.
    """
    check_model_name(alias)
    with store.write() as connection:
        lock_model(connection, model)
        _check_usable(connection, model, version)
        current = _current(connection, model, alias)
        if current == version:
            return False
        if instead_of is not None and (current or 0) != instead_of:
            raise RegistryError(
                f"{model}@{alias} points to version {current} by now, not to {instead_of or 'none'}: "
                f"compare with that one, then promote {model}:{version}"
            )
        point_alias(connection, model, alias, version, who=who, why=why, event=PROMOTED)
        return True


def rollback(
    store: Store,
    model: str,
    *,
    who: str,
    why: str | None,
    alias: str = DEFAULT_ALIAS,
    instead_of: int | None = None,
    to: int | None = None,
) -> tuple[int, int]:
    """Point `alias` back to the version that was promoted before the one it points to now.

    Called again it goes back one promotion more. Versions that were pruned are passed over. With
    `instead_of`, only if it points to that version now; with `to`, only if it would go back to that
    one. Returns the versions from and to. Raises `RegistryError` naming what is the case if nothing
    lies before, or another version than `instead_of` or `to` is in that place.
    """
    with store.write() as connection:
        lock_model(connection, model)
        current = _current(connection, model, alias)
        if current is None:
            raise RegistryError(f"there is no model {model}@{alias}; {what_there_is(connection)}")
        if instead_of is not None and current != instead_of:
            raise RegistryError(
                f"{model}@{alias} points to version {current} by now, not to "
                f"{instead_of or 'none'}: look again before you roll back"
            )
        target = _before(connection, model, alias, current)
        if target is None:
            raise RegistryError(
                f"{model}@{alias} points to version {current}, and no usable version was promoted "
                "before it: promote another with training promote"
            )
        if to is not None and target != to:
            raise RegistryError(
                f"{model}@{alias} would go back from version {current} to {target} by now, not to "
                f"{to}: look again before you roll back"
            )
        point_alias(connection, model, alias, target, who=who, why=why, event=ROLLED_BACK)
        return current, target


def rollback_target(store: Store, model: str, alias: str = DEFAULT_ALIAS) -> int | None:
    """Return the version that a rollback would go to now; None if nothing usable lies before."""
    with store.read() as connection:
        current = _current(connection, model, alias)
        return None if current is None else _before(connection, model, alias, current)


def promotions(store: Store, model: str, alias: str = DEFAULT_ALIAS) -> list[int]:
    """Return the usable versions that `alias` would go back through, the current one first."""
    with store.read() as connection:
        stack = _stack(connection, model, alias)
        usable = _ready(connection, model)
    newest_first = dict.fromkeys(reversed(stack))
    return [number for number in newest_first if number in usable]


def point_alias(
    connection: Connection,
    model: str,
    alias: str,
    version: int,
    *,
    who: str,
    why: str | None,
    event: str,
) -> None:
    """Point `alias` to `version`, which exists, in the caller's transaction, with an event."""
    lock_model(connection, model)
    before = _current(connection, model, alias)
    if before is None:
        connection.execute(insert(ModelAlias).values(model=model, alias=alias, version=version))
    else:
        connection.execute(
            update(ModelAlias)
            .where(ModelAlias.model == model, ModelAlias.alias == alias)
            .values(version=version)
        )
    insert_event(
        connection,
        model,
        version,
        event,
        who=who,
        why=why,
        alias=alias,
        from_version=before,
    )


def what_there_is(connection: Connection) -> str:
    """Return the models and their newest versions, as the end of an error message."""
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


def lock_model(connection: Connection, model: str) -> bool:
    """Hold the row of `model` until the transaction ends; False if there is none.

    The model is locked, not its alias: that may not be there yet.
    """
    query = select(Model.name).where(Model.name == model).with_for_update(key_share=True)
    return connection.scalar(query) is not None


def _current(connection: Connection, model: str, alias: str) -> int | None:
    return connection.scalar(
        select(ModelAlias.version).where(ModelAlias.model == model, ModelAlias.alias == alias)
    )


def _before(connection: Connection, model: str, alias: str, current: int) -> int | None:
    usable = _ready(connection, model)
    stack = _stack(connection, model, alias)
    return next(
        (number for number in reversed(stack) if number != current and number in usable), None
    )


def _check_usable(connection: Connection, model: str, version: int) -> None:
    state = connection.scalar(
        select(ModelVersion.state).where(
            ModelVersion.model == model, ModelVersion.version == version
        )
    )
    if state is None:
        raise RegistryError(f"there is no model {model}:{version}; {what_there_is(connection)}")
    if state != "ready":
        raise RegistryError(f"model {model}:{version} is {state}: its files are gone")


def _ready(connection: Connection, model: str) -> set[int]:
    query = select(ModelVersion.version).where(
        ModelVersion.model == model, ModelVersion.state == "ready"
    )
    return set(connection.scalars(query))


def _stack(connection: Connection, model: str, alias: str) -> list[int]:
    """Return the versions promoted and not rolled back since, the current one last."""
    moves = connection.execute(
        select(ModelEvent.event, ModelEvent.version)
        .where(
            ModelEvent.model == model,
            ModelEvent.alias == alias,
            ModelEvent.event.in_((PROMOTED, ROLLED_BACK)),
        )
        .order_by(ModelEvent.id)
    )
    stack: list[int] = []
    for event, version in moves:
        assert version is not None, "every move names where it went"  # noqa: S101
        if event == ROLLED_BACK:
            while stack and stack[-1] != version:
                stack.pop()
        else:
            stack.append(version)
    return stack
