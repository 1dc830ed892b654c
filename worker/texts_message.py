"""The message of another Celery client: a few texts that are to be labelled."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from db.defaults import TASK_BYTES, TASK_ROWS
from db.errors import UsageError
from db.ledger.entries import EntryRow, RefusedRow
from db.registry.names import ModelRef, parse_ref
from db.row_rules import unlabelable, unstorable
from db.text import escaped_raw
from worker.messages import MessageRefusedError

#: The task's name on the wire.
LABEL_TEXTS = "labelstream.label_texts"

#: The one version of this message so far.
TEXTS_VERSION = 1

_KEYS = frozenset(("v", "rows", "model", "id_scope", "store_text"))
_ROW_KEYS = frozenset(("text", "id", "extra"))

#: Largest integer that every JSON column keeps exactly.
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class TextsMessage:
    """What a client asks for, checked; of its rows some may be refused."""

    rows: tuple[EntryRow | RefusedRow, ...]
    #: None: the model of jobs that name none.
    model: ModelRef | None
    #: Where the ids are unique; None: among all tasks.
    id_scope: str | None
    store_text: bool

    @classmethod
    def from_wire(cls, wire: object) -> "TextsMessage":
        """Read a message.

        Raises `MessageRefusedError` for one that is malformed, too large or of an unknown version;
        its words hold nothing of the message, which may have a text anywhere. A row whose text is
        blank or cannot be stored refuses only itself.
        """
        if not isinstance(wire, Mapping):
            raise MessageRefusedError("the message is no object")
        _only(wire, _KEYS, "the message")
        if type(wire.get("v")) is not int or wire["v"] != TEXTS_VERSION:
            raise MessageRefusedError("the message's version is not one that this worker knows")
        store_text = wire.get("store_text", True)
        if not isinstance(store_text, bool):
            raise MessageRefusedError("store_text is neither true nor false")
        rows = wire.get("rows")
        if not isinstance(rows, list) or not rows:
            raise MessageRefusedError("rows is no list, or an empty one")
        if len(rows) > TASK_ROWS:
            raise MessageRefusedError(f"more than {TASK_ROWS:,} rows")
        room = _Room(TASK_BYTES)
        return cls(
            rows=tuple(_row(row, store_text, room) for row in rows),
            model=_model(wire.get("model")),
            id_scope=_scope(wire.get("id_scope")),
            store_text=store_text,
        )


class _Room:
    """The bytes that a message's texts, ids and extras may still take."""

    def __init__(self, size: int) -> None:
        self._left = size

    def take(self, value: str) -> None:
        self._left -= len(value) if value.isascii() else len(value.encode("utf-8", "surrogatepass"))
        if self._left < 0:
            raise MessageRefusedError(f"more than {TASK_BYTES:,} bytes of texts, ids and extras")


def _row(row: object, store_text: bool, room: _Room) -> EntryRow | RefusedRow:
    if not isinstance(row, Mapping):
        raise MessageRefusedError("a row is no object")
    _only(row, _ROW_KEYS, "a row")
    text = row.get("text")
    if not isinstance(text, str):
        raise MessageRefusedError("a row has no text, or one that is no string")
    identifier = _identifier(row.get("id"))
    extra = _extra(row.get("extra"))
    strings = [text, *([identifier] if identifier else []), *_strings(extra)]
    for value in strings:
        room.take(value)
    reasons = (unstorable(value) for value in strings)
    reason = next(filter(None, reasons), None) or unlabelable(text, identifier)
    if reason is not None:
        return RefusedRow(None, reason, escaped_raw(text) if store_text else None)
    return EntryRow(text, identifier or None, extra)


def _identifier(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _LARGEST:
        return str(value)
    raise MessageRefusedError("an id is neither a string nor a number")


def _extra(value: object) -> Mapping[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, Mapping):
        raise MessageRefusedError("extra is no object")
    for name, kept in value.items():
        if not isinstance(name, str) or not _is_plain(kept):
            raise MessageRefusedError("extra holds what is no plain value")
    return dict(value) or None


def _is_plain(value: object) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    if isinstance(value, int):
        return abs(value) <= _LARGEST
    return value is None or isinstance(value, str)


def _strings(extra: Mapping[str, Any] | None) -> list[str]:
    """Return the keys and values of `extra` as they count: a number by its digits."""
    if extra is None:
        return []
    return [*extra, *(value if isinstance(value, str) else str(value) for value in extra.values())]


def _model(value: object) -> ModelRef | None:
    if value is None:
        return None
    try:
        return parse_ref(value if isinstance(value, str) else "")
    except UsageError:
        raise MessageRefusedError(
            "its model is not written as NAME, NAME@ALIAS or NAME:VERSION"
        ) from None


def _scope(value: object) -> str | None:
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or unstorable(value):
        raise MessageRefusedError("id_scope is no string that can be stored, or a blank one")
    if len(value) > TASK_BYTES:
        raise MessageRefusedError("id_scope is too long")
    return value


def _only(wire: Mapping[Any, Any], known: frozenset[str], what: str) -> None:
    if not wire.keys() <= known:
        raise MessageRefusedError(f"{what} has a key other than {', '.join(sorted(known))}")
