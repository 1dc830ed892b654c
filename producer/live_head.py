"""The head of a source that is still being written: told from its first whole lines, at once.

It depends on those lines alone, not on what else has arrived with them: whoever reads the same
bytes again, faster or slower, finds the same columns.
"""

import codecs
import json
import re
from dataclasses import dataclass, replace

from producer.columns import Columns, choose_columns
from producer.content import SAMPLE_BYTES, Sample
from producer.encodings import Encoding, find_encoding, marked_encoding, may_begin_a_mark
from producer.formats.binary import refuse_binary
from producer.formats.csv_head import delimiter_named
from producer.formats.head import Head
from producer.formats.naming import Format
from producer.formats.opening import head_of
from producer.lines import MAX_ROW_BYTES
from producer.rows import ReadOptions

#: Lines among which JSON Lines must have their first object, and the first row of a CSV must end.
_HEAD_LINES = 100

#: Bytes of the longest byte-order mark.
_MARK_BYTES = 4

_UTF8_MARK = b"\xef\xbb\xbf"

#: A quote that opens a field, whatever the delimiter is.
_OPENING_QUOTE = re.compile(rb'(?:^|[^\w ])"')


@dataclass(frozen=True)
class LiveHead:
    """What a live source begins with, and how its rows are read."""

    head: Head
    columns: Columns
    #: What a person should be told.
    notes: tuple[str, ...]

    def options(self, wanted: ReadOptions) -> ReadOptions:
        """Return `wanted` with the format and the columns that are read, guessed or given."""
        columns = self.columns
        name = self.head.format.name
        return replace(wanted, format=name, text_column=columns.text, id_column=columns.id)


class Prelude:
    """The first bytes of a live source, collected until they tell its head.

    `format_name` is `auto` where the first line is to tell it. Raises `UsageError` for options that
    do not fit.
    """

    def __init__(self, source: str, options: ReadOptions, format_name: str) -> None:
        self._source = source
        self._options = options
        self._format = format_name
        self._wanted = find_encoding(options.encoding)
        self._delimiter = delimiter_named(options.delimiter)
        #: All that has arrived, as it is stored.
        self.data = bytearray()
        #: Whether that is all there will be.
        self.complete = False
        self._has_news = True

    def add(self, data: bytes) -> None:
        """Take what has arrived; nothing tells that the source has ended."""
        self.data += data
        self.complete = not data
        # A look at lines that have not ended yet, byte after byte, would take ages.
        self._has_news |= self.complete or b"\n" in data or b"\r" in data

    @property
    def blank(self) -> bool:
        """Whether the source has ended and holds nothing."""
        return self.complete and not self._decoded()[0]

    def head(self) -> LiveHead | None:
        """Return the head, None while more is needed.

        Raises `UsageError` for a source that is binary, or lacks a header, a column or an object.
        """
        limit = SAMPLE_BYTES if self._format == "text" else MAX_ROW_BYTES
        if not self._has_news and len(self.data) <= limit:
            return None
        self._has_news = False
        text, mark, encoding = self._decoded()
        name, needed = self._needed(text, encoding)
        if needed is None and not self.complete and len(self.data) <= self._limit(text):
            return None
        whole = Sample(text, self.complete, encoding, mark)
        refuse_binary(whole, self._source)
        if needed is not None and needed < len(text):
            # Of two bytes that may be one line end the second is needed too.
            needed += text.endswith(b"\r", 0, needed)
            whole = replace(whole, data=text[:needed], complete=False)
        return self._head(name, whole)

    def _limit(self, text: bytes) -> int:
        has_line = b"\n" in text or b"\r" in text
        return SAMPLE_BYTES if has_line or self._format == "text" else MAX_ROW_BYTES

    def _decoded(self) -> tuple[bytes, int, Encoding]:
        """Return the text as it is read, the length of a byte-order mark before it, its encoding."""
        raw = bytes(self.data)
        encoding = marked_encoding(raw) or self._wanted
        if encoding.transcoded_from is not None:
            decoder = codecs.getincrementaldecoder(encoding.transcoded_from)("replace")
            raw = decoder.decode(raw, final=self.complete).encode("utf-8", "replace")
        mark = len(_UTF8_MARK) if raw.startswith(_UTF8_MARK) else 0
        return raw[mark:], mark, encoding

    def _needed(self, text: bytes, encoding: Encoding) -> tuple[str, int | None]:
        """Return the format, and how much of `text` tells the head; None while that is too little."""
        if may_begin_a_mark(bytes(self.data[:_MARK_BYTES])) and not self.complete:
            return "text", None
        lines = _whole_lines(text, self.complete)
        name = self._format
        if name == "auto":
            first = next((line for line in lines if line.strip()), None)
            if first is None:
                return "text", None
            name = self._told_by(first, encoding)
        if name == "jsonl":
            return name, _up_to_object(lines, encoding.codec)
        if name in ("csv", "tsv"):
            return name, _up_to_row(lines)
        return name, len(lines[0]) if lines else None

    def _told_by(self, line: bytes, encoding: Encoding) -> str:
        if _is_object(line, encoding.codec):
            return "jsonl"
        options = self._options
        named = options.text_column, options.id_column, *options.keep_columns
        return "csv" if any(named) or options.delimiter != "auto" else "text"

    def _head(self, name: str, sample: Sample) -> LiveHead:
        given = self._given() if name == "jsonl" else None
        head = head_of(sample, Format(name, None), self._delimiter, given, self._source)
        names = head.names
        if given is not None:
            # Not every object need have every key; the first one tells those that are not named.
            names = tuple(dict.fromkeys((*names, *given.all)))
        columns, notes = choose_columns(names, head.texts, self._options, self._source)
        said = (*head.notes, *(notes if name != "text" else ()))
        if sample.encoding.name != self._wanted.name:
            said = (f"{self._source} is read as {sample.encoding.name}, as its mark says", *said)
        return LiveHead(head, columns, said)

    def _given(self) -> Columns | None:
        options = self._options
        if options.text_column is None:
            return None
        return Columns(options.text_column, options.id_column, options.keep_columns)


def _whole_lines(text: bytes, complete: bool) -> list[bytes]:
    lines = text.splitlines(keepends=True)
    # After a carriage return at the very end, a line feed may follow.
    if lines and not complete and not lines[-1].endswith(b"\n"):
        lines.pop()
    return lines


def _up_to_object(lines: list[bytes], codec: str) -> int | None:
    size = seen = 0
    for line in lines:
        size += len(line)
        seen += bool(line.strip())
        if _is_object(line, codec) or seen == _HEAD_LINES:
            return size
    return None


def _up_to_row(lines: list[bytes]) -> int | None:
    """Return the end of the header and the first row after it; a quoted field may hold line ends."""
    size = rows = 0
    is_open = False
    for number, line in enumerate(lines, 1):
        size += len(line)
        if is_open or _OPENING_QUOTE.search(line):
            is_open ^= bool(line.count(b'"') % 2)
        rows += not is_open and bool(line.strip(b"\r\n"))
        if rows == 2 or number == _HEAD_LINES:
            return size
    return None


def _is_object(line: bytes, codec: str) -> bool:
    try:
        return isinstance(json.loads(line.decode(codec)), dict)
    except (ValueError, RecursionError):
        return False
