"""The rows of a byte stream whose head is known, each with the place after it."""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass

from db.errors import UsageError
from producer.byte_stream import ByteStream
from producer.chunking import ChunkBuilder, PlacedChunk
from producer.encodings import Transcoded
from producer.formats.making import RowMaker
from producer.formats.opening import rows_of
from producer.lines import MAX_ROW_BYTES, LineWindow, line_blocks
from producer.live_head import LiveHead
from producer.rows import Position, RejectedRow, Row, one_by_one

#: Bytes that are read over at once.
_SKIP_BYTES = 1 << 16


#: Bytes that are kept behind what was read: more than twice the largest row, for reading goes back no
#: further than to the line after the one where a row begins that is none.
_AHEAD_BYTES = 3 * MAX_ROW_BYTES


class OtherInput(UsageError):
    """What is given is not what was read before."""


@dataclass(frozen=True, slots=True)
class LivePosition(Position):
    """A place in bytes that nobody can open again, and what tells whether they are given again."""

    #: SHA-256 of all bytes before it, in hex; empty where that is not known.
    digest: str = ""


#: A row, and the position of whoever goes on after it.
PlacedRow = tuple[Row | RejectedRow, LivePosition]
#: A row, and the place after it.
_FoundRow = tuple[Row | RejectedRow, Position]


class Rewound:
    """A stream of which some bytes were read already, and are to be read again."""

    def __init__(self, data: bytes, rest: ByteStream) -> None:
        self._data = data
        self._rest = rest

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""
        return self._rest.consumed

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, as soon as there are some, and none at the end."""
        if self._data:
            data, self._data = self._data[:size], self._data[size:]
            return data
        return self._rest.read(size)

    def close(self) -> None:
        """Close the source."""
        self._rest.close()


class Digested:
    """A stream that tells the SHA-256 of all its bytes before a place; the places only rise."""

    def __init__(self, stream: ByteStream) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self._told = 0
        self._ahead = bytearray()

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""
        return self._stream.consumed

    def read(self, size: int) -> bytes:
        """Return what the stream returns."""
        data = self._stream.read(size)
        self._ahead += data
        if len(self._ahead) > _AHEAD_BYTES:
            # In the middle of a line without end: no place in it will be asked for.
            self._advance(len(self._ahead) - _AHEAD_BYTES // 2)
        return data

    def before(self, offset: int) -> str:
        """Return the digest of the `offset` bytes that were read first, in hex.

        Empty for a place so far behind what was read that it is not known any more.
        """
        size = offset - self._told
        if size < 0:
            return ""
        self._advance(size)
        return self._digest.hexdigest()

    def _advance(self, size: int) -> None:
        self._digest.update(self._ahead[:size])
        del self._ahead[:size]
        self._told += size

    def close(self) -> None:
        """Close the stream."""
        self._stream.close()


def placed_rows(
    stream: ByteStream, opened: LiveHead, start: LivePosition, source: str
) -> Iterator[PlacedRow]:
    """Yield the rows of a stream that begins at its first byte, those before `start` left out.

    Raises `OtherInput` for a stream that is not the one in which `start` is, and what reading raises.
    """
    head = opened.head
    codec = head.encoding.transcoded_from
    text = Digested(stream if codec is None else Transcoded(stream, codec))
    offset, line = max((start.offset, start.line), (head.offset, head.line))
    _read_over(text, offset, source)
    if start.digest and text.before(offset) != start.digest:
        raise OtherInput(
            f"{source} gives other rows than those that were read before; give the same input "
            "again (a job of its own needs a --job-key of its own)"
        )
    begin = Position(start.file, offset, line, start.row)
    for row, place in rows_from(text, opened, begin, source):
        digest = text.before(place.offset)
        yield row, LivePosition(place.file, place.offset, place.line, place.row, digest)


def rows_from(
    stream: ByteStream, opened: LiveHead, start: Position, source: str
) -> Iterator[_FoundRow]:
    """Yield the rows of a stream that stands at `start`, behind its head."""
    window = LineWindow(line_blocks(stream), start.offset, start.line)
    rows = rows_of(window, opened.head, opened.columns, RowMaker(source, start.row))
    for item in one_by_one(rows):
        offset, line = window.place()
        yield item, Position(start.file, offset, line, item.row_number)


def placed_chunk(rows: Sequence[PlacedRow], *, keep_raw: bool) -> PlacedChunk:
    """Return the chunk of rows that follow each other."""
    chunk = ChunkBuilder(keep_raw=keep_raw)
    for row, _ in rows:
        chunk.add(row)
    return PlacedChunk(chunk.built(), asdict(rows[-1][1]))


def _read_over(stream: Digested, offset: int, source: str) -> None:
    left = offset
    while left:
        data = stream.read(min(left, _SKIP_BYTES))
        if not data:
            raise OtherInput(
                f"{source} ends before byte {offset:,}, up to which it was read before; "
                "give the same input again"
            )
        left -= len(data)
        stream.before(offset - left)
