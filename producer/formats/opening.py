"""Which head and which rows belong to a format that is read line by line."""

from producer.columns import Columns
from producer.content import Sample
from producer.formats.csv_head import csv_head
from producer.formats.csv_rows import CsvRows
from producer.formats.head import Head
from producer.formats.json_lines import JsonRows, json_head
from producer.formats.making import RowMaker
from producer.formats.naming import Format
from producer.formats.plain_text import TextRows, text_head
from producer.lines import LineWindow
from producer.rows import Room, no_room

#: The rows of a source that is read line by line.
LineRows = CsvRows | JsonRows | TextRows


def head_of(
    sample: Sample,
    format_: Format,
    delimiter: str | None,
    given: Columns | None,
    source: str,
) -> Head:
    """Return what a source begins with; `given` are the columns that are known without it.

    Raises `UsageError` for one that is binary, or lacks a header or an object.
    """
    if format_.name in ("csv", "tsv"):
        return csv_head(sample, format_, delimiter, source)
    if format_.name == "jsonl":
        return json_head(sample, format_, given, source)
    return text_head(sample, format_, source)


def rows_of(
    window: LineWindow, head: Head, columns: Columns, maker: RowMaker, room: Room = no_room
) -> LineRows:
    """Return the rows that the lines of `window` make; for `room` there may be runs among them."""
    if head.format.name == "jsonl":
        return JsonRows(window, head, columns, maker)
    if head.format.name == "text":
        return TextRows(window, head, maker)
    return CsvRows(window, head, columns, maker, room)
