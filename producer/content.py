"""The text of a source as a byte stream: unpacked, transcoded, from a place on; and its beginning."""

import io
from dataclasses import dataclass

from db.errors import UsageError
from producer.byte_stream import ByteStream, StoredBytes
from producer.decompression import Gunzipped, Unzstd
from producer.encodings import Encoding, Transcoded, marked_encoding
from producer.lines import MAX_ROW_BYTES
from producer.rows import SourceError
from producer.source_file import SourceFile

#: Bytes of a source's beginning from which columns, delimiter and kind are told.
SAMPLE_BYTES = 1 << 18

_SKIP_BYTES = 1 << 20
_UTF8_MARK = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class Sample:
    """The beginning of a source, in the encoding that its rows are read with."""

    data: bytes
    #: Whether that is all of it.
    complete: bool
    encoding: Encoding
    #: Bytes of a byte-order mark that come before `data`.
    mark: int

    @property
    def whole_lines(self) -> bytes:
        """The part of `data` that no later bytes can change."""
        if self.complete:
            return self.data
        # A carriage return at the very end may be half a line end.
        return self.data[: max(self.data.rfind(b"\n"), self.data.rfind(b"\r", 0, -1)) + 1]


def open_content(
    source: SourceFile, compression: str | None, encoding: Encoding, offset: int
) -> ByteStream:
    """Open the text of a source from `offset` on.

    A plain file is read from there; anything else is read over. Raises `SourceError`.
    """
    direct = compression is None and encoding.transcoded_from is None and source.seekable
    stream = _unpacked(source, compression, offset if direct else 0)
    if encoding.transcoded_from is not None:
        stream = Transcoded(stream, encoding.transcoded_from)
    if not direct:
        _read_over(stream, source, offset)
    return stream


def read_sample(source: SourceFile, compression: str | None, wanted: Encoding) -> Sample:
    """Return the beginning of a source: whole lines, if there are any, unless that is all of it.

    A byte-order mark outweighs the encoding that was asked for. Raises `UsageError` when nothing
    can be read, and when it is empty.
    """
    raw, complete = _beginning(source, compression)
    encoding = marked_encoding(raw) or wanted
    if encoding.transcoded_from is not None:
        raw = _transcoded(raw, encoding.transcoded_from)
    mark = len(_UTF8_MARK) if raw.startswith(_UTF8_MARK) else 0
    if complete and not raw[mark:]:
        raise UsageError(f"{source.name} is empty; there is nothing to label")
    return Sample(raw[mark:], complete, encoding, mark)


def encoding_notes(sample: Sample, wanted: Encoding, source: str) -> list[str]:
    """Return what a person should be told of how a source is encoded."""
    found = sample.encoding
    if found.name != wanted.name:
        return [f"{source} is read as {found.name}, as its byte-order mark says"]
    if found.name == "utf-8" and not _is_utf8(sample.whole_lines):
        advice = "if there are many, try --encoding latin-1 or cp1252"
        return [f"{source} has rows that are not valid utf-8, which are rejected; {advice}"]
    return []


def _is_utf8(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


def _beginning(source: SourceFile, compression: str | None) -> tuple[bytes, bool]:
    pieces: list[bytes] = []
    size = 0
    has_line = False
    complete = False
    try:
        stream = _unpacked(source, compression, 0)
        try:
            while size < SAMPLE_BYTES or (not has_line and size <= MAX_ROW_BYTES):
                piece = stream.read(SAMPLE_BYTES)
                if not piece:
                    complete = True
                    break
                pieces.append(piece)
                size += len(piece)
                has_line = has_line or b"\n" in piece or b"\r" in piece
        finally:
            stream.close()
    except SourceError as error:
        # What broke off after its beginning is told when the rows before it were read.
        if not pieces:
            raise UsageError(str(error)) from None
    return b"".join(pieces), complete


def _unpacked(source: SourceFile, compression: str | None, offset: int) -> ByteStream:
    stored = StoredBytes(source, offset)
    if compression == "gzip":
        return Gunzipped(stored, source.name)
    if compression == "zstd":
        return Unzstd(stored, source.name)
    return stored


def _read_over(stream: ByteStream, source: SourceFile, offset: int) -> None:
    left = offset
    while left:
        data = stream.read(min(left, _SKIP_BYTES))
        if not data:
            raise SourceError(f"{source.name} is shorter than it was; label it anew: --again")
        left -= len(data)


class _InMemory(io.BytesIO):
    @property
    def consumed(self) -> int:
        return self.tell()


def _transcoded(raw: bytes, codec: str) -> bytes:
    stream = Transcoded(_InMemory(raw), codec)
    pieces = []
    while piece := stream.read(SAMPLE_BYTES):
        pieces.append(piece)
    return b"".join(pieces)
