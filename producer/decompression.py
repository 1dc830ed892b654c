"""`.gz` and `.zst` read as they are: bounded in memory whatever they unpack to."""

import zlib
from collections.abc import Callable
from typing import Any

from producer.byte_stream import ByteStream
from producer.rows import SourceError

#: Compressed bytes that are read at once.
_COMPRESSED_BYTES = 1 << 15

#: Bytes that one call may unpack: what a damaged call unpacked is lost.
_GZIP_STEP = 1 << 16

#: Compressed bytes given to zstd at once: its blocks of 128 KiB take 4 bytes at the least, and its
#: decompressor has no limit for what one call may return.
_ZSTD_STEP = 1 << 8

_GZIP_HEAD = b"\x1f\x8b"
_ZSTD_HEAD = b"\x28\xb5\x2f\xfd"


class _Unpacked:
    """What both have in common: reads that return what is there before they raise."""

    def __init__(self, stream: ByteStream, name: str) -> None:
        self._stream = stream
        self._name = name
        self._waiting = b""
        self._ready = b""
        self._error: SourceError | None = None

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""
        return self._stream.consumed

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; raises `SourceError` when it breaks off."""
        parts = [self._ready]
        length = len(self._ready)
        self._ready = b""
        try:
            while length < size and self._error is None and (data := self._step()) is not None:
                parts.append(data)
                length += len(data)
        except SourceError as error:
            self._error = error
        if not length and self._error is not None:
            raise self._error
        whole = b"".join(parts)
        self._ready = whole[size:]
        return whole[:size]

    def close(self) -> None:
        """Close the source."""
        self._stream.close()

    def _step(self) -> bytes | None:
        """Unpack a little, perhaps nothing; None at the end."""
        raise NotImplementedError


class Gunzipped(_Unpacked):
    """The content of a gzip file of one member or many."""

    def __init__(self, stream: ByteStream, name: str) -> None:
        super().__init__(stream, name)
        self._member: Any = None
        self._members = 0

    def _step(self) -> bytes | None:
        if self._member is None and not self._begin_member():
            return None
        if not self._waiting:
            self._waiting = self._stream.read(_COMPRESSED_BYTES)
        ended = not self._waiting
        try:
            data: bytes = self._member.decompress(self._waiting, _GZIP_STEP)
        except zlib.error:
            raise _damaged(self._name) from None
        self._waiting = self._member.unconsumed_tail
        if self._member.eof:
            self._waiting = self._member.unused_data
            self._member = None
        elif ended and not data:
            raise _truncated(self._name)
        return data

    def _begin_member(self) -> bool:
        while True:
            if self._members:
                # Tapes and block devices pad with zeros.
                self._waiting = self._waiting.lstrip(b"\0")
            if len(self._waiting) >= len(_GZIP_HEAD):
                break
            more = self._stream.read(_COMPRESSED_BYTES)
            if not more:
                break
            self._waiting += more
        if not self._waiting:
            return False
        if not self._waiting.startswith(_GZIP_HEAD):
            raise _damaged(self._name) if self._members else _not(self._name, "gzip")
        self._member = zlib.decompressobj(wbits=31)
        self._members += 1
        return True


class Unzstd(_Unpacked):
    """The content of a zstd file of one frame or many."""

    def __init__(self, stream: ByteStream, name: str) -> None:
        import zstandard

        super().__init__(stream, name)
        self._new: Callable[[], Any] = zstandard.ZstdDecompressor().decompressobj
        self._failure = zstandard.ZstdError
        self._frame: Any = None
        self._begun = False
        self._at = 0  # What of `_waiting` was given to the frame.

    def _step(self) -> bytes | None:
        if self._at == len(self._waiting):
            self._waiting, self._at = self._stream.read(_COMPRESSED_BYTES), 0
            if not self._waiting:
                if self._frame is not None:
                    raise _truncated(self._name)
                return None
        if self._frame is None:
            self._frame = self._new()
        step = self._waiting[self._at : self._at + _ZSTD_STEP]
        self._at += len(step)
        foreign = not self._begun and not step.startswith(_ZSTD_HEAD[: len(step)])
        self._begun = True
        try:
            data: bytes = self._frame.decompress(step)
        except self._failure:
            raise _not(self._name, "zstd") if foreign else _damaged(self._name) from None
        if self._frame.eof:
            self._at -= len(self._frame.unused_data)
            self._frame = None
        return data


def _truncated(name: str) -> SourceError:
    return SourceError(
        f"{name} is truncated: the compressed data ends early; "
        "the whole rows before it are kept; get the whole file and run again"
    )


def _damaged(name: str) -> SourceError:
    return SourceError(
        f"{name} is damaged: the compressed data cannot be unpacked any further; "
        "what could be read before it is kept; get the file anew and run again"
    )


def _not(name: str, kind: str) -> SourceError:
    return SourceError(f"{name} is no {kind} file, though its name says so; rename it")
