"""What a source begins with: enough to check it before the first row and to read it from there."""

from dataclasses import dataclass

from producer.encodings import Encoding
from producer.formats.naming import Format


@dataclass(frozen=True)
class Head:
    """What was found out about a source before its first row."""

    format: Format
    encoding: Encoding
    #: Its columns, and those of them whose first values look like text.
    names: tuple[str, ...]
    texts: tuple[str, ...]
    #: Where its rows begin: bytes and lines before them.
    offset: int = 0
    line: int = 0
    #: Between two fields, where there are fields.
    delimiter: str = ","
    #: What a person should be told.
    notes: tuple[str, ...] = ()
