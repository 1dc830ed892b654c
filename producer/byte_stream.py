"""The bytes of a source, local or remote, as they are stored."""

from typing import Any, Protocol

from producer.rows import SourceError
from producer.source_file import SourceFile


class ByteStream(Protocol):
    """Bytes that are read once, from the beginning to the end."""

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; raises `SourceError` when it breaks off."""

    def close(self) -> None:
        """Close the source."""


class StoredBytes:
    """A source's bytes as they are stored, from `offset` on (0 where it is not seekable)."""

    def __init__(self, source: SourceFile, offset: int = 0) -> None:
        self._source = source
        self._position = offset
        try:
            self._file: Any = _open(source)
            if offset:
                self._file.seek(offset)
        except Exception as error:  # noqa: BLE001  (every driver of fsspec raises its own kinds)
            raise SourceError(f"{source.name} cannot be opened: {_why(source, error)}") from None

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""
        return self._position

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; raises `SourceError` when it breaks off."""
        try:
            data: bytes = self._file.read(size)
        except Exception as error:  # noqa: BLE001  (every driver of fsspec raises its own kinds)
            raise self._broken(_why(self._source, error)) from None
        expected = self._source.size
        if not data and size and expected is not None and self._position < expected:
            raise self._broken("it ended early")
        self._position += len(data)
        return data

    def close(self) -> None:
        """Close the source."""
        self._file.close()

    def _broken(self, reason: str) -> SourceError:
        total = "" if self._source.size is None else f" of {self._source.size:,}"
        return SourceError(
            f"{self._source.name} broke off after {self._position:,}{total} bytes: {reason}; "
            "what was read is kept, run the same command again when it can be read"
        )


def _open(source: SourceFile) -> Any:
    if not source.remote:
        return open(source.url, "rb", buffering=0)
    from producer.remote import open_remote

    return open_remote(source)


def _why(source: SourceFile, error: Exception) -> str:
    if source.remote:
        from db.remote_files import why

        return why(error)
    return getattr(error, "strerror", None) or type(error).__name__
