"""Reading sources row by row, from a place on, whatever their format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from db.errors import UsageError
from producer.byte_stream import ByteStream
from producer.columns import Columns, choose_columns, require_columns
from producer.content import encoding_notes, open_content, read_sample
from producer.encodings import Encoding, find_encoding
from producer.formats.csv_head import delimiter_named
from producer.formats.head import Head
from producer.formats.making import RowMaker
from producer.formats.naming import format_of
from producer.formats.opening import LineRows, head_of, rows_of
from producer.formats.parquet import ParquetRows, check_types, parquet_head
from producer.lines import LineWindow, line_blocks
from producer.rows import Position, ReadOptions, RejectedRow, Room, Row, RowRun, no_room, one_by_one
from producer.source_file import SourceFile


class _Body(Protocol):
    """The rows of one source, and how far they are read."""

    @property
    def consumed(self) -> int: ...

    def place(self) -> tuple[int, int]: ...

    def __iter__(self) -> Iterator[Row | RejectedRow | RowRun]: ...


class Reader:
    """Reads the rows of `sources` in order, numbered from 1 over all of them.

    After each row `position` is a place from which a new reader goes on with the next one.
    """

    def __init__(
        self,
        sources: Sequence[SourceFile],
        options: ReadOptions,
        start: Position = Position(0, 0, 0, 0),  # noqa: B008  (frozen)
    ) -> None:
        self._sources = tuple(sources)
        self._wanted = options
        self._columns: Columns | None = None
        self._heads: list[Head] = []
        self._file = start.file
        self._place = (start.offset, start.line)
        self._row = start.row
        self._body: _Body | None = None
        self._finished_bytes = sum(source.size or 0 for source in self._sources[: start.file])
        #: What a person should be told: what was guessed and found; filled by `open`.
        self.notes: list[str] = []

    def open(self) -> None:
        """Check every source as far as it can be checked before the first row; once is enough.

        Raises `UsageError` for options that do not fit, and for a source that cannot be read, is
        empty or binary, or lacks a column.
        """
        if self._columns is not None:
            return
        encoding = find_encoding(self._wanted.encoding)
        delimiter = delimiter_named(self._wanted.delimiter)
        columns: Columns | None = None
        for source in self._sources:
            head = self._head(source, encoding, delimiter, columns)
            self._note(head.notes)
            if columns is None:
                columns, notes = choose_columns(head.names, head.texts, self._wanted, source.name)
                self._note(notes if head.format.name != "text" else ())
            else:
                require_columns(columns, head.names, source.name)
            if head.format.name == "parquet":
                check_types(source, columns)
            self._heads.append(head)
        if columns is None:
            raise UsageError("no source named; give a file, a glob or a URL")
        self._columns = columns

    @property
    def options(self) -> ReadOptions:
        """The options with the columns that are read, guessed or given."""
        self.open()
        assert self._columns is not None  # noqa: S101
        return replace(self._wanted, text_column=self._columns.text, id_column=self._columns.id)

    @property
    def position(self) -> Position:
        """Where reading stands: all rows up to the one that was handed out last are before it."""
        offset, line = self._place if self._body is None else self._body.place()
        return Position(self._file, offset, line, self._row)

    @property
    def progress(self) -> tuple[int, int | None]:
        """Bytes read (as stored) and bytes of all sources, None where one does not tell.

        Rows read and rows wanted where a limit will end it sooner.
        """
        sizes = [source.size for source in self._sources]
        total = None if None in sizes else sum(size or 0 for size in sizes)
        read = self._finished_bytes + (0 if self._body is None else self._body.consumed)
        limit = self._wanted.limit
        if limit is not None and (not total or self._row * total > read * limit):
            return self._row, limit
        return read, total

    def __iter__(self) -> Iterator[Row | RejectedRow]:
        """Yield the rows; raises `SourceError` after all that could be read if a source breaks off.

        This or `runs` is to be called once.
        """
        yield from one_by_one(self.runs(no_room))

    def runs(self, room: Room) -> Iterator[Row | RejectedRow | RowRun]:
        """Yield the rows as `__iter__` does, and where there is room for them whole runs."""
        self.open()
        limit = self._wanted.limit

        def rest() -> tuple[int, int]:
            rows, size = room()
            return rows if limit is None else min(rows, limit - self._row), size

        while self._file < len(self._sources):
            if limit is not None and self._row >= limit:
                return
            body = self._begin(self._sources[self._file], self._heads[self._file], rest)
            for item in body:
                self._row = item.last if isinstance(item, RowRun) else item.row_number
                yield item
                if self._row == limit:
                    return
            if self._file == len(self._sources) - 1:
                return
            self._finished_bytes += self._sources[self._file].size or 0
            self._body = None
            self._file += 1
            self._place = (0, 0)

    def _begin(self, source: SourceFile, head: Head, room: Room) -> _Body:
        assert self._columns is not None  # noqa: S101
        maker = RowMaker(source.name, self._row)
        if head.format.name == "parquet":
            self._body = ParquetRows(source, self._columns, maker, self._place[0])
            return self._body
        if self._place[0] < head.offset:
            self._place = (head.offset, head.line)
        offset, line = self._place
        stream = open_content(source, head.format.compression, head.encoding, offset)
        window = LineWindow(line_blocks(stream), offset, line)
        self._body = _TextBody(stream, window, rows_of(window, head, self._columns, maker, room))
        return self._body

    def _head(
        self,
        source: SourceFile,
        encoding: Encoding,
        delimiter: str | None,
        columns: Columns | None,
    ) -> Head:
        format_ = format_of(source, self._wanted.format)
        self._note(format_.notes)
        if format_.name == "parquet":
            return parquet_head(source, format_)
        sample = read_sample(source, format_.compression, encoding)
        self._note(encoding_notes(sample, encoding, source.name))
        given = columns or self._given_columns()
        return head_of(sample, format_, delimiter, given, source.name)

    def _given_columns(self) -> Columns | None:
        wanted = self._wanted
        if wanted.text_column is None:
            return None
        return Columns(wanted.text_column, wanted.id_column, wanted.keep_columns)

    def _note(self, notes: Sequence[str]) -> None:
        self.notes.extend(note for note in notes if note not in self.notes)


@dataclass(frozen=True)
class _TextBody:
    """The rows of a source that is read line by line."""

    stream: ByteStream
    window: LineWindow
    rows: LineRows

    @property
    def consumed(self) -> int:
        # A block is read at once, its rows one by one: a small file would be read before its
        # first row.
        end = self.window.end
        return round(self.stream.consumed * self.window.place()[0] / end) if end else 0

    def place(self) -> tuple[int, int]:
        return self.window.place()

    def __iter__(self) -> Iterator[Row | RejectedRow | RowRun]:
        try:
            yield from self.rows
        finally:
            self.stream.close()
