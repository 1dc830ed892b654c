"""One CSV row with quotes out of physical lines, with a rule for quotes that are never closed.

A field that begins with a quote ends at the next quote that is not doubled, and there the field must
end too: with a delimiter or the line. Elsewhere a quote is a character like any other, but not in
a row that spans lines: there it shows that an earlier quote was never closed, and that what
seemed to close it opens a field of a later row.

A quoted field that breaks the rule or a limit breaks its row at the line on which it opens; reading
goes on with the line after that one.
"""

from dataclasses import dataclass

from db.row_rules import ROW_TOO_LONG
from producer.lines import MAX_ROW_BYTES, LineWindow

#: Longest quoted field, in bytes between its quotes, and the most lines that it may touch.
MAX_FIELD_BYTES = 1 << 20
MAX_FIELD_LINES = 1000

NEVER_CLOSED = "quote never closed"
TEXT_AFTER_QUOTE = "text after a closing quote"
FIELD_TOO_LONG = "quoted field over 1 MB"
FIELD_OF_TOO_MANY_LINES = "quoted field over 1,000 lines"


@dataclass(frozen=True, slots=True)
class Fields:
    """The first fields of a row, unquoted, and how many it has in all."""

    values: list[bytes]
    count: int


@dataclass(frozen=True, slots=True)
class Broken:
    """Why a row cannot be read, and the index in the window of the line that is to blame."""

    reason: str
    index: int


class RowParser:
    """Reads rows off a window of lines; `width` is how many fields of a row are kept at least."""

    def __init__(self, window: LineWindow, delimiter: bytes, width: int) -> None:
        self._window = window
        self._delimiter = delimiter
        self._kept = width + 1

    def row(self) -> Fields | Broken:
        """Read the row at the window's index and move the index past it."""
        window = self._window
        first = at = window.index
        lines = window.lines
        line, position, values, count, spanning = lines[at], 0, [], 0, -1
        end = len(line.rstrip(b"\r\n"))
        size = len(line)
        while True:
            count += 1
            if line.startswith(b'"', position):
                opened = at
                found = self._close(at, position + 1)
                if isinstance(found, str):
                    return self._broken(found, opened)
                at, close = found
                value = _between(lines, opened, position + 1, at, close)
                if len(value) > MAX_FIELD_BYTES:
                    return self._broken(FIELD_TOO_LONG, opened)
                value = value.replace(b'""', b'"')
                if at != opened:
                    spanning = opened
                    line = lines[at]
                    end = len(line.rstrip(b"\r\n"))
                    size += sum(map(len, lines[opened + 1 : at + 1]))
                    if size > MAX_ROW_BYTES:
                        window.index = at + 1
                        return Broken(ROW_TOO_LONG, first)
                stop = close + 1
                if stop < end and not line.startswith(self._delimiter, stop):
                    reason = TEXT_AFTER_QUOTE if at == opened else NEVER_CLOSED
                    return self._broken(reason, opened)
            else:
                stop = line.find(self._delimiter, position, end)
                stop = end if stop < 0 else stop
                value = line[position:stop]
                if spanning >= 0 and b'"' in value:
                    return self._broken(NEVER_CLOSED, spanning)
            if count <= self._kept:
                values.append(value)
            if stop >= end:
                window.index = at + 1
                return Fields(values, count)
            position = stop + len(self._delimiter)

    def _broken(self, reason: str, opened: int) -> Broken:
        self._window.index = opened + 1
        return Broken(reason, opened)

    def _close(self, opened: int, start: int) -> tuple[int, int] | str:
        """Return the line and the place of the quote that closes a field, or why there is none."""
        window = self._window
        lines = window.lines
        close = _closing_quote(lines[opened], start)
        if close >= 0:
            return opened, close
        size = len(lines[opened]) - start
        at = opened + 1
        # A line that leaves a field open has an odd run of quotes, which ends this search: however
        # many rows are broken, a line is searched once for a row before it.
        while True:
            if at - opened >= MAX_FIELD_LINES:
                return FIELD_OF_TOO_MANY_LINES
            if size > MAX_FIELD_BYTES:
                return FIELD_TOO_LONG
            if at >= len(lines) and not window.look_ahead():
                return NEVER_CLOSED
            if at in window.cut:
                return FIELD_TOO_LONG
            close = _closing_quote(lines[at], 0)
            if close >= 0:
                return at, close
            size += len(lines[at])
            at += 1


def _closing_quote(line: bytes, start: int) -> int:
    """Return the place of the first quote from `start` on that is not doubled, or -1."""
    at = line.find(b'"', start)
    while at >= 0 and line.startswith(b'"', at + 1):
        at = line.find(b'"', at + 2)
    return at


def _between(lines: list[bytes], first: int, start: int, last: int, stop: int) -> bytes:
    if first == last:
        return lines[first][start:stop]
    return b"".join([lines[first][start:], *lines[first + 1 : last], lines[last][:stop]])
