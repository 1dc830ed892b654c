"""How bytes are text: the encodings that may be named, byte-order marks, and transcoding.

Rows are split on bytes, which needs an encoding in which the bytes of line ends, quotes and
delimiters mean nothing else: UTF-8 and the single-byte extensions of ASCII. All others (UTF-16,
UTF-32, Shift JIS, EBCDIC, …) are transcoded to UTF-8 first. What cannot be decoded becomes bytes
that are not valid UTF-8 either, so that the row that has them is found and rejected like any other.
"""

import codecs
from dataclasses import dataclass

from db.errors import UsageError
from producer.byte_stream import ByteStream

#: The mark's bytes, the longer ones first: UTF-32's begins with UTF-16's.
_MARKS = (
    (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
    (codecs.BOM_UTF8, "utf-8", "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
)

#: The order of bytes where no mark tells it: what Windows writes.
_UNMARKED = {"utf-16": "utf-16-le", "utf-32": "utf-32-le"}

#: Codecs of Python that are no encodings of files.
_NO_FILE_ENCODINGS = frozenset(
    ("idna", "mbcs", "oem", "punycode", "raw-unicode-escape", "undefined", "unicode-escape")
)

#: Bytes that are read for one step of transcoding.
_TRANSCODED_BYTES = 1 << 18

_ASCII = bytes(range(128))
_UNDECODABLE = "\udcff"


@dataclass(frozen=True)
class Encoding:
    """An encoding of a source: its name for people, and how its bytes are read."""

    name: str
    #: What the bytes of a row are decoded with.
    codec: str
    #: What they are transcoded from before, if at all.
    transcoded_from: str | None = None


def find_encoding(name: str) -> Encoding:
    """Return the encoding that a person names; raises `UsageError` for an unknown one."""
    try:
        info = codecs.lookup(name)
        codec = info.name
        known = info._is_text_encoding and codec.replace("_", "-") not in _NO_FILE_ENCODINGS
    except (LookupError, ValueError, SyntaxError, ImportError):
        known = False
    if not known:
        raise UsageError(
            f"unknown encoding {name!r}; such as utf-8, latin-1, cp1252, utf-16 or shift_jis"
        )
    if codec in ("utf-8", "utf-8-sig"):
        return Encoding("utf-8", "utf-8")
    shown = name.strip().lower().replace("_", "-")
    if _is_single_byte(codec):
        return Encoding(shown, codec)
    return Encoding(shown, "utf-8", transcoded_from=_UNMARKED.get(codec, codec))


def marked_encoding(head: bytes) -> Encoding | None:
    """Return the encoding whose byte-order mark `head` (4 bytes or more) begins with."""
    for mark, codec, name in _MARKS:
        if head.startswith(mark):
            if codec == "utf-8":
                return Encoding(name, codec)
            return Encoding(name, "utf-8", transcoded_from=codec)
    return None


def may_begin_a_mark(head: bytes) -> bool:
    """Whether more than `head` must be read to tell if there is a byte-order mark."""
    return any(mark != head and mark.startswith(head) for mark, _, _ in _MARKS)


def _is_single_byte(codec: str) -> bool:
    try:
        return (
            _ASCII.decode(codec) == _ASCII.decode("ascii")
            and len(bytes(range(256)).decode(codec, "replace")) == 256
        )
    except (UnicodeError, LookupError):
        return False


class Transcoded:
    """A stream in another encoding, as UTF-8."""

    def __init__(self, stream: ByteStream, codec: str) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder(codec)(errors=_MARK_UNDECODABLE)
        self._ready = b""
        self._ended = False

    @property
    def consumed(self) -> int:
        """Bytes of the source that were read, as stored."""
        return self._stream.consumed

    def read(self, size: int) -> bytes:
        """Return up to `size` bytes, none at the end; raises `SourceError`."""
        while not self._ready and not self._ended:
            data = self._stream.read(min(size, _TRANSCODED_BYTES))
            self._ended = not data
            text = self._decoder.decode(data, final=self._ended)
            self._ready = text.encode("utf-8", "surrogatepass")
        data, self._ready = self._ready[:size], self._ready[size:]
        return data

    def close(self) -> None:
        """Close the source."""
        self._stream.close()


#: Name under which the error handler below is known to Python's codecs.
_MARK_UNDECODABLE = "labelstream-mark-undecodable"


def _mark_undecodable(error: UnicodeError) -> tuple[str, int]:
    assert isinstance(error, UnicodeDecodeError)  # noqa: S101
    return _UNDECODABLE, error.end


codecs.register_error(_MARK_UNDECODABLE, _mark_undecodable)
