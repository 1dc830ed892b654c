"""From the fields of a stream's entry to a row."""

import json
from collections.abc import Mapping
from dataclasses import dataclass

from db.ledger.entries import Entry, EntryRow, RefusedRow
from db.row_rules import ROW_TOO_LONG, unlabelable, unstorable
from producer.columns import Columns
from producer.encodings import Encoding
from producer.formats.making import MAX_RAW_BYTES, invalid, shown_raw
from producer.lines import MAX_ROW_BYTES
from producer.redis_group import Delivered


class _Unusable(Exception):
    """Why an entry's row is rejected."""


@dataclass(frozen=True)
class EntryMaker:
    """Makes an entry's one row, by the rules of every other source.

    Without an id column the entry's own id is the row's. A field that is kept and not there is null.
    """

    #: Where rejects say that they come from.
    source: str
    columns: Columns
    encoding: Encoding
    keep_raw: bool = True

    def entry(self, delivered: Delivered) -> Entry:
        """Return the entry with its row, or with the row's rejection."""
        try:
            row: EntryRow | RefusedRow = self._row(delivered)
        except _Unusable as error:
            raw = shown_raw(_as_json(delivered.fields)) if self.keep_raw else None
            row = RefusedRow(self.source, str(error), raw)
        return Entry(delivered.id, (row,))

    def _row(self, delivered: Delivered) -> EntryRow:
        if delivered.size > MAX_ROW_BYTES:
            raise _Unusable(ROW_TOO_LONG)
        columns = self.columns
        text = self._value(delivered, columns.text)
        if text is None:
            raise _Unusable("no text field")
        identifier = delivered.id if columns.id is None else self._value(delivered, columns.id)
        extra = {name: self._value(delivered, name) for name in columns.keep}
        reason = unlabelable(text, identifier)
        if reason is not None:
            raise _Unusable(reason)
        return EntryRow(text, identifier or None, extra or None)

    def _value(self, delivered: Delivered, name: str) -> str | None:
        value = delivered.fields.get(name.encode("utf-8", "surrogateescape"))
        if value is None:
            return None
        try:
            text = value.decode(self.encoding.transcoded_from or self.encoding.codec)
        except UnicodeError:
            raise _Unusable(invalid(self.encoding.name)) from None
        reason = unstorable(text)
        if reason is not None:
            raise _Unusable(reason)
        return text


def _as_json(fields: Mapping[bytes, bytes]) -> str:
    """Return the beginning of an entry's fields, bytes that are no UTF-8 escaped."""
    shown = {}
    room = MAX_RAW_BYTES
    for name, value in fields.items():
        if room <= 0:
            break
        shown[_shown(name[:room])] = _shown(value[:room])
        room -= len(name) + len(value)
    return json.dumps(shown, ensure_ascii=False)


def _shown(value: bytes) -> str:
    return value.decode("utf-8", "backslashreplace")
