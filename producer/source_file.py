"""A file that is read: where it is, and what tells its content from another's."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SourceFile:
    """One file to read, with what tells its content from another's."""

    #: Path or URL with credentials: to open it, never to show it.
    url: str = field(repr=False)
    #: Canonical absolute path or URL, passwords hidden.
    name: str
    #: Bytes as stored, None where nobody says.
    size: int | None
    #: A local file's SHA-256; a URL's ETag and size, or Last-Modified and size, or its SHA-256.
    fingerprint: str
    #: Whether reading may begin in the middle.
    seekable: bool

    @property
    def remote(self) -> bool:
        """Whether fsspec opens it."""
        return is_url(self.url)


def is_url(spec: str) -> bool:
    """Return whether `spec` is a URL rather than a path."""
    return "://" in spec
