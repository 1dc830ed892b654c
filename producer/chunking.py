"""Rows into chunks: closed by rows or by bytes of text, whichever is first."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from db.defaults import CHUNK_BYTES
from db.ledger.payload import ChunkRows
from db.ledger.producing import JobWriter, NewReject
from producer.rows import RejectedRow, Row, SourceError


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
    items: Iterable[Row | RejectedRow],
    chunk_rows: int,
    *,
    keep_raw: bool = True,
    chunk_bytes: int = CHUNK_BYTES,
) -> Iterator[RowChunk]:
    """Yield chunks of at most `chunk_rows` rows or about `chunk_bytes` of text.

    A chunk is yielded as soon as its last row is read, so that the reader's position is its end.
    A text that is longer than a chunk may be travels alone. Without `keep_raw`, rejects forget
    their raw row. When the source breaks off, what was read is yielded first; then its
    `SourceError` is raised.
    """
    chunk = _empty()
    size = 0
    broken: SourceError | None = None
    iterator = iter(items)
    while True:
        try:
            item = next(iterator)
        except StopIteration:
            break
        except SourceError as error:
            broken = error
            break
        if isinstance(item, RejectedRow):
            raw = item.raw if keep_raw else None
            chunk.rejects.append(
                NewReject(item.row_number, item.source_file, item.line, item.reason, raw)
            )
        else:
            rows = chunk.rows
            rows.row_numbers.append(item.row_number)
            rows.texts.append(item.text)
            rows.external_ids.append(item.external_id)
            assert rows.extra is not None  # noqa: S101
            rows.extra.append(item.extra)
            # Four bytes a character is UTF-8's most; ASCII, the common case, is counted exactly.
            size += len(item.text) if item.text.isascii() else len(item.text.encode())
        if len(chunk) >= chunk_rows or size >= chunk_bytes:
            yield chunk
            chunk = _empty()
            size = 0
    if len(chunk):
        yield chunk
    if broken is not None:
        raise broken


def _empty() -> RowChunk:
    return RowChunk(ChunkRows([], [], [], []), [])
