"""The rows of a CSV or TSV file.

A block without a NUL or an undecodable byte, as most are, is decoded and cut into lines as a whole; of
its lines, those without a quote are split at once, and those with quotes by the parser of the standard
library where its answer is sure to be ours: a whole row, on one line, that can be labelled. Lines that are
all such rows make a run, where one is taken. Whatever else comes is read with care, field by field. Lines
with nothing on them are no rows, between rows as at the end.
"""

import csv
from collections.abc import Callable, Iterator

from db.row_rules import MAX_ID_CHARACTERS, NUL, ROW_TOO_LONG
from db.text import utf8_bytes
from producer.columns import Columns
from producer.formats.csv_parsing import Broken, Fields, RowParser
from producer.formats.head import Head
from producer.formats.making import RowMaker, invalid
from producer.lines import Block, LineWindow
from producer.rows import Extra, RejectedRow, Room, Row, RowRun, no_room

#: Longest line, in characters, that the standard library's parser splits: it keeps every field of a
#: line, and refuses one of more than 131,072 characters.
_SPLIT_CHARACTERS = 1 << 16

#: Lines that are split together where no run is taken.
_LINES_TOGETHER = 256


class CsvRows:
    """Reads rows off a window of lines."""

    def __init__(
        self,
        window: LineWindow,
        head: Head,
        columns: Columns,
        maker: RowMaker,
        room: Room = no_room,
    ) -> None:
        self._window = window
        self._maker = maker
        self._room = room
        self._codec = head.encoding.codec
        self._encoding = head.encoding.name
        self._delimiter = head.delimiter
        self._separator = head.delimiter.encode(self._codec)
        self._width = len(head.names)
        self._text = head.names.index(columns.text)
        self._id = -1 if columns.id is None else head.names.index(columns.id)
        self._keep = tuple((name, head.names.index(name)) for name in columns.keep)
        self._parser = RowParser(window, self._separator, self._width)

    def __iter__(self) -> Iterator[Row | RejectedRow | RowRun]:
        window = self._window
        while (block := window.load()) is not None:
            lines = self._plain_lines(block)
            if lines is not None:
                yield from self._fast(lines)
            # What is left of the block, and what a row of it has looked ahead for.
            yield from self._careful()

    def _plain_lines(self, block: Block) -> list[str] | None:
        """Return the lines of a block that can be decoded and has no NUL, else None."""
        data = block.data
        if block.cut or b"\0" in data:
            return None
        try:
            text = data.decode(self._codec)
        except UnicodeDecodeError:
            return None
        if "\r" in text:
            text = text.replace("\r\n", "\n").replace("\r", "\n")
        lines = text.split("\n")
        if not lines[-1]:
            lines.pop()
        return lines

    def _fast(self, lines: list[str]) -> Iterator[Row | RejectedRow | RowRun]:
        """Read the lines of a block, up to a row that goes on in the next one."""
        window, delimiter, width = self._window, self._delimiter, self._width
        unquoted = _unquoting(delimiter)
        while (start := window.index) < len(lines):
            rows, size = self._room()
            together = lines[start : start + (rows or _LINES_TOGETHER)]
            # Never many more fields than are needed: a row may be one of millions of delimiters.
            split = [
                unquoted(line) if '"' in line else line.split(delimiter, width) for line in together
            ]
            run = self._run(split, size) if rows else None
            if run is None:
                yield from self._one_by_one(together, split)
            else:
                window.index += len(together)
                yield run

    def _run(self, split: list[list[str]], size: int) -> RowRun | None:
        """Return the rows with these fields, of less than `size` bytes, if all can be labelled."""
        if any(len(fields) != self._width for fields in split):
            return None
        texts = [fields[self._text] for fields in split]
        if not all(texts) or any(map(str.isspace, texts)):
            return None
        identifiers: list[str | None] = [None] * len(texts)
        if self._id >= 0:
            identifiers = [fields[self._id] or None for fields in split]
            if any(each is not None and len(each) > MAX_ID_CHARACTERS for each in identifiers):
                return None
        extra: list[Extra] | None = None
        kept = ""
        if self._keep:
            extra = [{name: fields[at] for name, at in self._keep} for fields in split]
            kept = "".join(fields[at] for fields in split for _, at in self._keep)
        taken = utf8_bytes("".join(texts)) + utf8_bytes(kept)
        if taken >= size:
            # The chunk ends among them.
            return None
        maker = self._maker
        run = RowRun(maker.number + 1, texts, identifiers, extra, taken)
        maker.number = run.last
        return run

    def _one_by_one(
        self, together: list[str], split: list[list[str]]
    ) -> Iterator[Row | RejectedRow]:
        """Read lines whose fields are `split`, from the window's index on."""
        window, maker = self._window, self._maker
        width, text_at, id_at, keep = self._width, self._text, self._id, self._keep
        start = window.index
        while (place := window.index - start) < len(together):
            line, fields = together[place], split[place]
            if not line:
                window.index += 1
                continue
            if len(fields) == width:
                text = fields[text_at]
                identifier = fields[id_at] or None if id_at >= 0 else None
                if (
                    text
                    and not text.isspace()
                    and (identifier is None or len(identifier) <= MAX_ID_CHARACTERS)
                ):
                    window.index += 1
                    number = maker.number = maker.number + 1
                    extra: Extra = {name: fields[at] for name, at in keep} if keep else None
                    yield Row(number, text, identifier, extra)
                    continue
            if '"' in line:
                yield self._parsed()
                continue
            window.index += 1
            number = window.first_line + window.index
            if len(fields) == width:
                yield maker.row(text, identifier, None, number, line)
            else:
                count = line.count(self._delimiter) + 1
                yield maker.reject(number, self._miscounted(count), line)

    def _careful(self) -> Iterator[Row | RejectedRow]:
        window, maker = self._window, self._maker
        lines = window.lines
        while window.index < len(lines):
            window.forget_read_lines()
            index = window.index
            line = lines[index]
            number = window.first_line + index + 1
            if index in window.cut:
                window.index += 1
                yield maker.reject(number, ROW_TOO_LONG, line)
            elif b'"' in line:
                yield self._parsed()
            else:
                window.index += 1
                content = line.rstrip(b"\r\n")
                if content:
                    fields = content.split(self._separator, self._width)
                    count = len(fields)
                    if count > self._width:
                        count = content.count(self._separator) + 1
                    yield self._made(Fields(fields, count), number, content)

    def _parsed(self) -> Row | RejectedRow:
        """Read the row with quotes that begins at the window's index."""
        window = self._window
        index, lines = window.index, window.lines
        parsed = self._parser.row()
        if isinstance(parsed, Broken):
            blamed = window.first_line + parsed.index + 1
            return self._maker.reject(blamed, parsed.reason, lines[parsed.index])
        raw = b"".join(lines[index : window.index])
        return self._made(parsed, window.first_line + index + 1, raw)

    def _made(self, fields: Fields, line: int, raw: bytes) -> Row | RejectedRow:
        if b"\0" in raw:
            return self._maker.reject(line, NUL, raw)
        try:
            raw.decode(self._codec)
            if fields.count != self._width:
                return self._maker.reject(line, self._miscounted(fields.count), raw)
            values = [value.decode(self._codec) for value in fields.values]
        except UnicodeDecodeError:
            return self._maker.reject(line, invalid(self._encoding), raw)
        identifier = values[self._id] or None if self._id >= 0 else None
        extra: Extra = {name: values[at] for name, at in self._keep} if self._keep else None
        return self._maker.row(values[self._text], identifier, extra, line, raw)

    def _miscounted(self, count: int) -> str:
        kind = "few" if count < self._width else "many"
        return f"too {kind} fields: {count} of {self._width}"


def _unquoting(delimiter: str) -> Callable[[str], list[str]]:
    """Return what splits a line with quotes, by the standard library's parser.

    It gives no field where it finds fault with the line, or the row goes on in the next one.
    """
    waiting: list[str] = []
    # One that needs another line asks an empty list for it.
    parser = csv.reader(iter(waiting.pop, None), delimiter=delimiter, strict=True)

    def fields(line: str) -> list[str]:
        if len(line) > _SPLIT_CHARACTERS:
            return []
        waiting.append(line)
        try:
            return next(parser)
        except (csv.Error, IndexError):
            return []

    return fields
