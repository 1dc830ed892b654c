"""How a source without an end flows, in words, as JSON and as a table."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from db.ledger.rates import Flow, StreamTotals
from db.ledger.totals import JobTotals
from producer.terminal import counted, plain

if TYPE_CHECKING:
    from rich.table import Table

#: Jobs of one stream that the overview names.
_JOBS_NAMED = 5


def flow_words(totals: JobTotals, flows: Flow) -> str:
    """Return the counts of a job and how it flows, in one line."""
    return (
        f"{counted(totals.rows, 'row')} in, {totals.labeled:,} labelled, {totals.rejected:,} rejected, "
        f"{totals.waiting:,} waiting, lag {flows.lag_seconds:,.1f} s, "
        f"{flows.rows_per_second:,.1f} rows/s"
    )


def flow_json(flows: Flow) -> dict[str, float]:
    """Return the keys that a stream has beyond those of any job."""
    return {
        "lag_seconds": flows.lag_seconds,
        "rows_per_second_last_minute": flows.rows_per_second,
    }


def stream_json(stream: StreamTotals) -> dict[str, Any]:
    """Return the stream's object in `status --json`."""
    return {
        "source": stream.source,
        "stream": stream.stream,
        "jobs": list(stream.jobs),
        "producers": stream.producers,
        "rows": stream.rows,
        "labeled": stream.labeled,
        "rejected": stream.rejected,
        "waiting": stream.waiting,
        **flow_json(stream.flow),
    }


def streams_table(streams: Sequence[StreamTotals]) -> "Table":
    """Return what people see of the sources that are read now, all jobs of each added up."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("stream", "jobs"):
        table.add_column(name, overflow="fold")
    for name in ("producers", "rows in", "labeled", "rejected", "waiting", "lag (s)", "rows/s now"):
        table.add_column(name, justify="right", no_wrap=True)
    for stream in streams:
        jobs = ", ".join(map(str, stream.jobs[:_JOBS_NAMED]))
        table.add_row(
            plain(stream.source, 60),
            jobs + (", …" if len(stream.jobs) > _JOBS_NAMED else ""),
            str(stream.producers),
            f"{stream.rows:,}",
            f"{stream.labeled:,}",
            f"{stream.rejected:,}",
            f"{stream.waiting:,}",
            f"{stream.flow.lag_seconds:,.1f}",
            f"{stream.flow.rows_per_second:,.1f}",
        )
    return table
