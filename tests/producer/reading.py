"""Reading bytes as a source, for tests of the reader."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from producer.reader import Reader
from producer.rows import ReadOptions, RejectedRow, Row, SourceError
from producer.sources import resolve_sources


@dataclass
class Read:
    """What reading gave."""

    items: list[Row | RejectedRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    error: SourceError | None = None

    @property
    def rows(self) -> list[Row]:
        return [item for item in self.items if isinstance(item, Row)]

    @property
    def texts(self) -> list[str]:
        return [row.text for row in self.rows]

    @property
    def rejects(self) -> list[RejectedRow]:
        return [item for item in self.items if isinstance(item, RejectedRow)]

    @property
    def reasons(self) -> list[tuple[int, str]]:
        """Line and reason of each reject."""
        return [(reject.line, reject.reason) for reject in self.rejects]


def reader_of(*paths: Path | str, **options: Any) -> Reader:
    return Reader(resolve_sources([str(path) for path in paths]), ReadOptions(**options))


def read(*paths: Path | str, **options: Any) -> Read:
    """Read sources to their end, and see that the row numbers are 1 to n."""
    reader = reader_of(*paths, **options)
    result = Read()
    reader.open()
    result.notes = reader.notes
    try:
        result.items.extend(reader)
    except SourceError as error:
        result.error = error
    numbers = [item.row_number for item in result.items]
    assert numbers == list(range(1, len(numbers) + 1))
    return result


def read_bytes(folder: Path, content: bytes | str, name: str = "rows.csv", **options: Any) -> Read:
    """Read `content` as a file of that name."""
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return read(path, **options)
