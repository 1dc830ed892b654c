"""Which format and compression a file has, by its name or by what the person says."""

import os
from dataclasses import dataclass
from urllib.parse import urlsplit

from db.errors import UsageError
from producer.source_file import SourceFile

#: Formats that `--format` names.
FORMATS = ("csv", "tsv", "jsonl", "parquet", "text")

_BY_EXTENSION = {
    ".csv": "csv",
    ".tsv": "tsv",
    ".jsonl": "jsonl",
    ".ndjson": "jsonl",
    ".parquet": "parquet",
    ".pq": "parquet",
    ".txt": "text",
    ".log": "text",
    "": "text",
}
_COMPRESSIONS = {".gz": "gzip", ".zst": "zstd"}


@dataclass(frozen=True)
class Format:
    """How a file is written."""

    name: str
    #: `gzip`, `zstd` or None.
    compression: str | None
    #: What a person should be told of how it was found.
    notes: tuple[str, ...] = ()


def format_of(source: SourceFile, wanted: str) -> Format:
    """Return the format of a source; `wanted` is a name of `FORMATS` or `auto`.

    Raises `UsageError` where the name of the file does not tell and nobody said.
    """
    path = urlsplit(source.url).path if source.remote else source.url
    stem, extension = os.path.splitext(os.path.basename(path))
    compression = _COMPRESSIONS.get(extension.lower())
    if compression is not None:
        extension = os.path.splitext(stem)[1]
    if wanted == "auto":
        found = _BY_EXTENSION.get(extension.lower())
        if found is None:
            raise UsageError(
                f"{source.name}: nothing is known of the extension {extension}; "
                f"say how it is written: --format {'|'.join(FORMATS)}"
            )
    elif wanted in FORMATS:
        found = wanted
    else:
        raise UsageError(f"unknown format {wanted!r}; one of: auto, {', '.join(FORMATS)}")
    if found == "parquet" and compression is not None:
        raise UsageError(
            f"{source.name}: Parquet is compressed inside and cannot be read out of a compressed "
            "file; unpack it first"
        )
    if wanted == "auto" and not extension:
        note = f"{source.name} has no extension and is read as plain text, a text a line"
        return Format(found, compression, (note,))
    return Format(found, compression)
