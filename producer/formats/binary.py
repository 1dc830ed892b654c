"""Telling a file that is no text at all from one with some bad rows."""

import codecs

from db.errors import UsageError
from producer.content import Sample

_KINDS = (
    (b"\x1f\x8b", "a gzip file", "name it .gz to have it unpacked"),
    (b"\x28\xb5\x2f\xfd", "a zstd file", "name it .zst to have it unpacked"),
    (b"PAR1", "a Parquet file", "read it with --format parquet"),
    (b"PK\x03\x04", "a zip file or a spreadsheet", "export it as CSV"),
    (b"\xd0\xcf\x11\xe0", "an old spreadsheet or document", "export it as CSV"),
    (b"%PDF-", "a PDF document", "export its text"),
    (b"SQLite format 3\0", "an SQLite database", "export its table as CSV"),
    (b"\x89PNG", "a picture", ""),
    (b"\xff\xd8\xff", "a picture", ""),
    (b"GIF8", "a picture", ""),
    (b"\x7fELF", "a program", ""),
)

#: Bytes that no text has: the control characters but tab, line ends, form feed and escape.
_CONTROLS = bytes(set(range(32)) - set(b"\t\n\r\x0b\x0c\x1b"))

#: Share of control characters from which on it is no text: in what can be decoded, and in what
#: cannot (random bytes have a tenth).
_DECODABLE_SHARE = 0.3
_UNDECODABLE_SHARE = 0.05

#: Control characters that a short file of text may have in its bad rows.
_FEW = 8

#: Bytes of the beginning that are looked at.
_LOOKED_AT = 1 << 16


def refuse_binary(sample: Sample, source: str) -> None:
    """Raise `UsageError` for a file that is no text, and say what it seems to be."""
    data = sample.data[:_LOOKED_AT]
    if sample.encoding.transcoded_from is None:
        for magic, kind, advice in _KINDS:
            if data.startswith(magic):
                raise UsageError(
                    f"{source} is binary: it looks like {kind}" + (advice and f"; {advice}")
                )
    controls = len(data) - len(data.translate(None, _CONTROLS))
    share = _UNDECODABLE_SHARE if not _decodes(data, sample.encoding.codec) else _DECODABLE_SHARE
    if controls > max(_FEW, share * len(data)):
        raise binary(source, data)


def binary(source: str, data: bytes) -> UsageError:
    """Return the error for a binary file, with advice where it may be unmarked UTF-16."""
    if data.count(0) > len(data) / 3:
        order = "le" if data[1::2].count(0) > data[::2].count(0) else "be"
        return UsageError(
            f"{source} is binary, or UTF-16 without a byte-order mark; "
            f"if that is it: --encoding utf-16-{order}"
        )
    return UsageError(f"{source} is binary; name a file of text")


def _decodes(data: bytes, codec: str) -> bool:
    try:
        # The last character may be cut.
        codecs.getincrementaldecoder(codec)().decode(data)
    except UnicodeDecodeError:
        return False
    return True
