"""What the reader hands out: rows, rejected rows, and the place from which reading may go on."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

from db.errors import LabelstreamError


class SourceError(LabelstreamError):
    """A source broke off while it was read, after all that could be read (exit status 1)."""

    exit_status = 1


class ReadingStopped(Exception):
    """Reading was stopped where the source has more; a line that has begun is not read yet."""


@dataclass(frozen=True, slots=True)
class Position:
    """A place between two rows; a new `Reader` that starts there goes on with the next row."""

    #: Index into the resolved sources.
    file: int
    #: Bytes of that file before the place: of the decompressed stream where it is compressed, of its
    #: UTF-8 where it is transcoded; rows of a Parquet file.
    offset: int
    #: Lines of that file before the place.
    line: int
    #: Row numbers given out before the place, over all files.
    row: int


#: The columns of a row that are kept, by name.
Extra = dict[str, str | int | float | bool | None] | None


class Row(NamedTuple):
    """One text to label; `row_number` counts from 1 over all files, rejected rows included."""

    row_number: int
    text: str
    external_id: str | None
    extra: Extra


@dataclass(frozen=True, slots=True)
class RowRun:
    """Rows that follow each other, a list a column, none of them rejected: no object a row."""

    #: The number of the first; the others have those after it.
    first: int
    texts: list[str]
    external_ids: list[str | None]
    #: None where no column is kept.
    extra: list[Extra] | None
    #: Their bytes as a chunk counts them.
    size: int

    @property
    def last(self) -> int:
        """The number of the last row."""
        return self.first + len(self.texts) - 1


#: Tells how many rows and how many bytes of a run whoever reads now would take, at the most.
Room = Callable[[], tuple[int, int]]


def no_room() -> tuple[int, int]:
    """Tell that rows are taken one by one."""
    return 0, 0


@dataclass(frozen=True, slots=True)
class RejectedRow:
    """A row that cannot be labelled: where it stands, why, and how it looked.

    `line` is the physical line from 1 (of Parquet: the row). `reason` holds nothing of the row;
    `raw` is escaped so that every database stores it, and at most 4 KB.
    """

    row_number: int
    source_file: str
    line: int
    reason: str
    raw: str


def one_by_one(
    items: Iterable[Row | RejectedRow | RowRun],
) -> Iterator[Row | RejectedRow]:
    """Yield what came of a source that was told `no_room`: there is no run among it."""
    for item in items:
        assert not isinstance(item, RowRun)  # noqa: S101
        yield item


@dataclass(frozen=True)
class ReadOptions:
    """How the sources are to be read; None and `auto` are found out from the source."""

    text_column: str | None = None
    id_column: str | None = None
    keep_columns: tuple[str, ...] = ()
    format: str = "auto"
    delimiter: str = "auto"
    encoding: str = "utf-8"
    limit: int | None = None
