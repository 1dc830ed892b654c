"""Making rows: what all formats check in a text and an id, numbering, and how a reject looks."""

from db.text import escaped_raw
from producer.rows import RejectedRow, Row

#: Longest external id, in characters.
MAX_ID_CHARACTERS = 1000

#: Bytes of a raw row that a reject keeps.
MAX_RAW_BYTES = 4096

Value = str | int | float | bool | None
Extra = dict[str, Value] | None

ID_TOO_LONG = f"id over {MAX_ID_CHARACTERS:,} characters"
EMPTY = "empty text"
NUL = "NUL character"
SURROGATE = "lone surrogate"
ROW_TOO_LONG = "row over 16 MB"


class RowMaker:
    """Gives out row numbers, one after the other, to good and bad rows of one source."""

    def __init__(self, source: str, number: int) -> None:
        self._source = source
        #: The row number that was given out last.
        self.number = number

    def row(
        self, text: str, external_id: str | None, extra: Extra, line: int, raw: bytes | str
    ) -> Row | RejectedRow:
        """Return a row, or its rejection; the caller has checked that it can be stored."""
        if not text or text.isspace():
            return self.reject(line, EMPTY, raw)
        if external_id is not None and len(external_id) > MAX_ID_CHARACTERS:
            return self.reject(line, ID_TOO_LONG, raw)
        self.number += 1
        return Row(self.number, text, external_id or None, extra)

    def reject(self, line: int, reason: str, raw: bytes | str) -> RejectedRow:
        """Return the rejection of the row that begins on `line` (from 1)."""
        self.number += 1
        return RejectedRow(self.number, self._source, line, reason, shown_raw(raw))


def shown_raw(raw: bytes | str) -> str:
    """Return a raw row escaped so that every database stores it, and at most 4 KB of it."""
    if isinstance(raw, bytes):
        raw = raw[: 2 * MAX_RAW_BYTES].rstrip(b"\r\n").decode("utf-8", "backslashreplace")
    shown = escaped_raw(raw, MAX_RAW_BYTES)
    return shown.encode()[:MAX_RAW_BYTES].decode("utf-8", "ignore")


def unstorable(value: str) -> str | None:
    """Return why a database cannot store `value`: NUL, or half of a surrogate pair."""
    if "\0" in value:
        return NUL
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            return SURROGATE
    return None


def invalid(encoding: str) -> str:
    """Return the reason for a row that cannot be decoded."""
    return f"invalid {encoding}"
