"""Rows into chunks: closed by rows or by bytes of text, whichever is first."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from db.defaults import CHUNK_BYTES
from db.ledger.payload import ChunkRows
from db.ledger.producing import JobWriter, NewReject
from db.text import utf8_bytes
from producer.rows import RejectedRow, Room, Row, RowRun, SourceError


@dataclass(frozen=True, slots=True)
class RowChunk:
    """Rows that follow each other, and the rejects among them."""

    rows: ChunkRows
    rejects: list[NewReject]

    def __len__(self) -> int:
        return len(self.rows) + len(self.rejects)


@dataclass(frozen=True, slots=True)
class PlacedChunk:
    """A chunk, and the position up to which the source is read with it."""

    chunk: RowChunk
    position: Mapping[str, Any]

    def add(self, writer: JobWriter) -> int | None:
        """Commit it; return the number of a chunk that is to be sent, None if there is none."""
        return writer.add_chunk(self.chunk.rows, self.chunk.rejects, self.position)

    def settle(self) -> None:
        """Do nothing: a file need not be told how far it was read."""


def placed(
    chunks: Iterable[RowChunk], position: Callable[[], Mapping[str, Any]]
) -> Iterator[PlacedChunk]:
    """Yield each chunk with the position that the reader has when it is read."""
    for chunk in chunks:
        yield PlacedChunk(chunk, position())


def chunked(
    read: Callable[[Room], Iterable[Row | RejectedRow | RowRun]],
    chunk_rows: int,
    *,
    keep_raw: bool = True,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RowChunk]:
    """Yield chunks of at most `chunk_rows` rows or about `chunk_bytes` of text.

    `read` is called once, with what tells the room that the chunk has which is being filled.
    A chunk is yielded as soon as its last row is read, so that the reader's position is its end.
    A text that is longer than a chunk may be travels alone. Without `keep_raw`, rejects forget
    their raw row. When the source breaks off, what was read is yielded first; then its
    `SourceError` is raised.
    """
    chunk = ChunkBuilder(keep_raw=keep_raw)

    def room() -> tuple[int, int]:
        return chunk_rows - chunk.count, chunk_bytes - chunk.size

    broken: SourceError | None = None
    iterator = iter(read(room))
    while True:
        try:
            for item in iterator:
                chunk.add(item)
                if chunk.count >= chunk_rows or chunk.size >= chunk_bytes:
                    break
            else:
                break
        except SourceError as error:
            broken = error
            break
        yield chunk.built()
        chunk = ChunkBuilder(keep_raw=keep_raw)
    if chunk.count:
        yield chunk.built()
    if broken is not None:
        raise broken


class ChunkBuilder:
    """A chunk to which rows are added; without `keep_raw`, rejects forget their raw row."""

    def __init__(self, *, keep_raw: bool = True) -> None:
        self._keep_raw = keep_raw
        self._rows = ChunkRows([], [], [], [])
        self._rejects: list[NewReject] = []
        #: How many rows and rejects were added, and their bytes, see `row_bytes`.
        self.count = 0
        self.size = 0

    def add(self, item: Row | RejectedRow | RowRun) -> None:
        """Add a row, the rejection of one, or a run of rows."""
        rows = self._rows
        assert rows.extra is not None  # noqa: S101
        if isinstance(item, RowRun):
            count = len(item.texts)
            rows.row_numbers.extend(range(item.first, item.last + 1))
            rows.texts.extend(item.texts)
            rows.external_ids.extend(item.external_ids)
            rows.extra.extend(item.extra or [None] * count)
            self.count += count
            self.size += item.size
            return
        self.count += 1
        self.size += row_bytes(item)
        if isinstance(item, Row):
            rows.row_numbers.append(item.row_number)
            rows.texts.append(item.text)
            rows.external_ids.append(item.external_id)
            rows.extra.append(item.extra)
            return
        raw = item.raw if self._keep_raw else None
        self._rejects.append(
            NewReject(item.row_number, item.source_file, item.line, item.reason, raw)
        )

    def built(self) -> RowChunk:
        """Return what was added."""
        rows = self._rows
        assert rows.extra is not None  # noqa: S101
        keeps = any(extra is not None for extra in rows.extra)
        return RowChunk(rows if keeps else replace(rows, extra=None), self._rejects)


def row_bytes(item: Row | RejectedRow) -> int:
    """Return what a row counts for: the UTF-8 of its text and kept columns; of a reject, its raw row."""
    if isinstance(item, RejectedRow):
        return len(item.raw)
    size = utf8_bytes(item.text)
    if item.extra is not None:
        size += sum(utf8_bytes(value) for value in item.extra.values() if isinstance(value, str))
    return size
