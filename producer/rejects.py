"""`producer rejects`: the rows that could not be labelled, where they stood, and why."""

import csv
import io
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, BinaryIO

from sqlalchemy import select

from db.ledger.jobs import get_job
from db.ledger.producing import NewReject
from db.ledger.totals import reject_reasons
from db.schema import Reject
from db.spreadsheet import safe_cell
from db.store import Store
from producer.exporting import refuse_purged
from producer.terminal import plain, visible

if TYPE_CHECKING:
    from rich.console import RenderableType

#: Rejects read at once; each has at most 4 KB of raw text.
PAGE_ROWS = 1_000

#: Rejects that the table shows; `--csv` gives all of them.
TABLE_ROWS = 100

#: Characters of a raw row that the table shows.
_RAW_SHOWN = 60

_HEADER = ("row_number", "source_file", "line", "reason", "raw")


def rejects(store: Store, job_id: int, page_rows: int = PAGE_ROWS) -> Iterator[NewReject]:
    """Return the rejects of a job in row order, read page by page.

    Raises `UsageError` if there is no such job, or if it was purged.
    """
    refuse_purged(get_job(store, job_id))
    return _pages(store, job_id, page_rows)


def _pages(store: Store, job_id: int, page_rows: int) -> Iterator[NewReject]:
    query = select(
        Reject.row_number, Reject.source_file, Reject.line, Reject.reason, Reject.raw
    ).order_by(Reject.row_number)
    last = 0
    while True:
        with store.read() as connection:
            page = connection.execute(
                query.where(Reject.job_id == job_id, Reject.row_number > last).limit(page_rows)
            ).all()
        if not page:
            return
        last = page[-1].row_number
        yield from (NewReject(*row) for row in page)


def write_csv(store: Store, job_id: int, stream: BinaryIO) -> None:
    """Write every reject of a job as CSV, formula-like cells with an apostrophe before them."""
    found = map(_cells, rejects(store, job_id))
    page: list[tuple[str | int, ...]] = [_HEADER]
    while page:
        lines = io.StringIO(newline="")
        csv.writer(lines).writerows(page)
        stream.write(lines.getvalue().encode())
        page = list(islice(found, PAGE_ROWS))


def render(store: Store, job_id: int, table_rows: int = TABLE_ROWS) -> "RenderableType":
    """Return the first rejects of a job as a table, and how many there are for each reason."""
    from rich import box
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    shown = list(islice(rejects(store, job_id), table_rows))
    reasons = reject_reasons(store, job_id)
    if not shown:
        return Text(f"job {job_id} has no rejects")
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("row", justify="right")
    table.add_column("file", overflow="fold")
    table.add_column("line", justify="right")
    table.add_column("reason", overflow="fold")
    table.add_column("raw", overflow="fold")
    for reject in shown:
        table.add_row(
            str(reject.row_number),
            plain(reject.source_file or "-"),
            "-" if reject.line is None else str(reject.line),
            plain(reject.reason),
            plain("-" if reject.raw is None else reject.raw, _RAW_SHOWN),
        )
    total = sum(reasons.values())
    lines = [Text(f"{count:,} {visible(reason)}") for reason, count in reasons.items()]
    if total > len(shown):
        lines.append(
            Text(f"the first {len(shown):,} of {total:,}; all: producer rejects {job_id} --csv")
        )
    return Group(table, *lines)


def _cells(reject: NewReject) -> tuple[str | int, ...]:
    return (
        reject.row_number,
        safe_cell(reject.source_file or ""),
        "" if reject.line is None else reject.line,
        safe_cell(reject.reason),
        safe_cell(reject.raw or ""),
    )
