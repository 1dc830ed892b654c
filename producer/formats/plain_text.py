"""Plain text: each line is a text; a blank line is a row too, rejected as an empty text."""

from collections.abc import Iterator

from db.row_rules import NUL, ROW_TOO_LONG
from producer.content import Sample
from producer.formats.binary import refuse_binary
from producer.formats.head import Head
from producer.formats.making import RowMaker, invalid
from producer.formats.naming import Format
from producer.lines import LineWindow
from producer.rows import RejectedRow, Row

#: The only column that plain text has.
COLUMN = "text"


def text_head(sample: Sample, format_: Format, source: str) -> Head:
    """Return what a file of lines begins with; raises `UsageError` if it is binary."""
    refuse_binary(sample, source)
    return Head(
        format=format_,
        encoding=sample.encoding,
        names=(COLUMN,),
        texts=(COLUMN,),
        offset=sample.mark,
    )


class TextRows:
    """Reads rows off a window of lines."""

    def __init__(self, window: LineWindow, head: Head, maker: RowMaker) -> None:
        self._window = window
        self._maker = maker
        self._codec = head.encoding.codec
        self._encoding = head.encoding.name

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        window = self._window
        while window.load() is not None:
            before = window.first_line
            for index, line in enumerate(window.lines, 1):
                window.index = index
                yield self._made(line, before + index, cut=bool(window.cut))

    def _made(self, line: bytes, number: int, *, cut: bool) -> Row | RejectedRow:
        if cut:
            return self._maker.reject(number, ROW_TOO_LONG, line)
        if b"\0" in line:
            return self._maker.reject(number, NUL, line)
        try:
            text = line.rstrip(b"\r\n").decode(self._codec)
        except UnicodeDecodeError:
            return self._maker.reject(number, invalid(self._encoding), line)
        return self._maker.row(text, None, None, number, line)
