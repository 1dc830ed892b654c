"""Making rows: what all formats check in a text and an id, numbering, and how a reject looks."""

from db.row_rules import unlabelable
from db.text import escaped_raw
from producer.rows import Extra, RejectedRow, Row

#: Bytes of a raw row that a reject keeps.
MAX_RAW_BYTES = 4096

Value = str | int | float | bool | None


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
        reason = unlabelable(text, external_id)
        if reason is not None:
            return self.reject(line, reason, raw)
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


def invalid(encoding: str) -> str:
    """Return the reason for a row that cannot be decoded."""
    return f"invalid {encoding}"
