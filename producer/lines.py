"""Physical lines of a byte stream, in blocks, with look-ahead and a place to go on from.

A line ends with LF, CR LF or a lone CR. Memory is bounded by the block and by the longest row: of a
line that is longer, only the beginning is kept.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from producer.byte_stream import ByteStream
from producer.rows import SourceError

#: Bytes that are read at once; a block is that, or one line where lines are longer.
BLOCK_BYTES = 1 << 20

#: Longest row, in bytes without its line end.
MAX_ROW_BYTES = 16 << 20

#: What is kept of a line that is longer than a row may be.
_KEPT_BYTES = 1 << 14


@dataclass(frozen=True, slots=True)
class Block:
    """Whole lines, or the beginning of one line of `cut` bytes (line end included) if it is not 0."""

    data: bytes
    cut: int = 0


def line_blocks(stream: ByteStream) -> Iterator[Block]:
    """Yield the stream as blocks of whole lines; the last one may lack its line end.

    When the stream breaks off, the whole lines before are yielded, then its `SourceError` is raised;
    the line that was cut off is not yielded.
    """
    waiting = _Waiting()
    held = b""
    while True:
        try:
            fresh = stream.read(BLOCK_BYTES)
        except SourceError:
            if held:
                yield from waiting.whole(held)
            raise
        data = held + fresh
        held = b""
        if fresh and data.endswith(b"\r"):
            # A line feed may follow, which belongs to the same line end.
            data, held = data[:-1], b"\r"
        end = max(data.rfind(b"\n"), data.rfind(b"\r")) + 1
        if end:
            yield from waiting.whole(data[:end])
        waiting.add(data[end:])
        if not fresh:
            yield from waiting.rest()
            return


class _Waiting:
    """The beginning of a line whose end is not read yet."""

    def __init__(self) -> None:
        # It grows in place: a slow source gives a long line in very many pieces.
        self._data = bytearray()
        self._size = 0

    def add(self, data: bytes) -> None:
        if not data:
            return
        self._size += len(data)
        if self._size > MAX_ROW_BYTES:
            self._data = (self._data + data)[:_KEPT_BYTES]
        else:
            self._data += data

    def whole(self, data: bytes) -> Iterator[Block]:
        """Yield what waits, up to the end of `data`, which ends a line."""
        if self._size:
            content, end = _first_line(data)
            if self._size + content > MAX_ROW_BYTES:
                self.add(data[:content])
                yield Block(bytes(self._data), cut=self._size + end - content)
                data = data[end:]
            else:
                data = b"".join((self._data, data))
            self._data, self._size = bytearray(), 0
        if data:
            yield Block(data)

    def rest(self) -> Iterator[Block]:
        """Yield the last line, which has no line end."""
        if not self._size:
            return
        cut = self._size if self._size > MAX_ROW_BYTES else 0
        yield Block(bytes(self._data), cut)


def _first_line(data: bytes) -> tuple[int, int]:
    """Return the length of the first line without and with its line end."""
    found = [at for at in (data.find(b"\n"), data.find(b"\r")) if at >= 0]
    content = min(found)
    return content, content + (2 if data.startswith(b"\r\n", content) else 1)


class LineWindow:
    """The lines being read: those of a block, and of the next ones where a row needs to look ahead.

    `index` is the line in `lines` that is read next; whoever reads lines moves it.
    """

    def __init__(self, blocks: Iterator[Block], offset: int, line: int) -> None:
        self._blocks = blocks
        self.index = 0
        #: Lines of the file before the first of `lines`.
        self.first_line = line
        #: True lengths, by index, of lines that were cut.
        self.cut: dict[int, int] = {}
        self._block = Block(b"")
        self._lines: list[bytes] | None = []
        self._known = (0, offset)
        self._end = offset
        self._extended = False

    @property
    def end(self) -> int:
        """The byte offset up to which blocks were taken; the lines before it are not all read."""
        return self._end

    @property
    def lines(self) -> list[bytes]:
        """The lines with their line ends."""
        if self._lines is None:
            self._lines = (
                [self._block.data] if self._block.cut else self._block.data.splitlines(True)
            )
        return self._lines

    def load(self) -> Block | None:
        """Go on to the next block, once all lines are read; None at the end."""
        block = next(self._blocks, None)
        self.first_line += self.index
        self._block = block or Block(b"")
        self._lines = None
        self._extended = False
        self.index = 0
        self._known = (0, self._end)
        self._end += self._block.cut or len(self._block.data)
        self.cut = {0: self._block.cut} if self._block.cut else {}
        return block

    def look_ahead(self) -> bool:
        """Append the next block's lines to `lines`; False if there is none."""
        block = next(self._blocks, None)
        if block is None:
            return False
        lines = self.lines
        if block.cut:
            self.cut[len(lines)] = block.cut
            lines.append(block.data)
        else:
            lines.extend(block.data.splitlines(True))
        self._end += block.cut or len(block.data)
        self._extended = True
        return True

    def forget_read_lines(self) -> None:
        """Let go of the lines before `index` if the window has grown; between two rows only."""
        if not self._extended:
            return
        _, offset = self._offset()
        del self.lines[: self.index]
        self.cut = {at - self.index: size for at, size in self.cut.items() if at >= self.index}
        self.first_line += self.index
        self.index = 0
        self._known = (0, offset)
        self._extended = False

    def place(self) -> tuple[int, int]:
        """Return the byte offset and the number of lines before the next line."""
        return self._offset()[1], self.first_line + self.index

    def _offset(self) -> tuple[int, int]:
        at, offset = self._known
        if at != self.index:
            offset += sum(map(len, self.lines[at : self.index]))
            for cut, size in self.cut.items():
                if at <= cut < self.index:
                    offset += size - len(self.lines[cut])
            self._known = (self.index, offset)
        return self._known
