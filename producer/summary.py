"""What a job came to: the object that `--json` prints, and the same for people."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import make_url

from db.ledger.jobs import JobRecord, get_job
from db.ledger.totals import JobTotals, job_totals, label_mix, reject_reasons, truncated_rows
from db.store import Store
from producer.terminal import counted, plain, show, visible

if TYPE_CHECKING:
    from rich.console import RenderableType
    from rich.text import Text

#: Characters of the longest bar of the label mix.
_BAR_WIDTH = 24

#: Reasons for rejects that the summary names; `producer rejects` has all.
_REASONS_SHOWN = 5


@dataclass(frozen=True)
class JobSummary:
    """A job's counts, labels and speed at one moment."""

    job: int
    state: str
    #: Passwords hidden.
    source: str
    rows: int
    labeled: int
    rejected: int
    #: Rows in the ledger that are neither labelled nor rejected.
    waiting: int
    #: Rows a label, most first; empty after a purge.
    labels: Mapping[str, int]
    #: Rows a reason, most first; empty after a purge.
    reject_reasons: Mapping[str, int]
    #: Labelled rows that were longer than the model reads.
    truncated: int
    model: str
    #: Rows labelled by each version, as `{"1": 1996}`.
    model_versions: Mapping[str, int]
    #: The engine that labelled the most rows; None before the first.
    engine: str | None
    #: From the making of the job to the last commit.
    seconds: float
    #: Rows labelled or rejected a second.
    rows_per_second: float
    #: The URL, password hidden; SQLite's with the absolute path.
    database: str
    #: Why the job failed.
    error: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the object that `--json` prints; its keys are a contract with scripts."""
        return {
            "job": self.job,
            "state": self.state,
            "rows": self.rows,
            "labeled": self.labeled,
            "rejected": self.rejected,
            "labels": dict(self.labels),
            "model": self.model,
            "model_versions": dict(self.model_versions),
            "engine": self.engine,
            "seconds": self.seconds,
            "rows_per_second": self.rows_per_second,
            "database": self.database,
        }


def summarise(store: Store, job_id: int) -> JobSummary:
    """Return the summary of a job as it stands now.

    Raises `UsageError` if there is no such job.
    """
    job = get_job(store, job_id)
    totals = job_totals(store, job_id)
    seconds = seconds_taken(job, totals)
    return JobSummary(
        job=job.id,
        state=job.state,
        source=job.source,
        rows=totals.rows,
        labeled=totals.labeled,
        rejected=totals.rejected,
        waiting=totals.waiting,
        labels=label_mix(store, job_id),
        reject_reasons=reject_reasons(store, job_id),
        truncated=truncated_rows(store, job_id),
        model=job.model,
        model_versions=totals.model_versions,
        engine=totals.engines[0] if totals.engines else None,
        seconds=seconds,
        rows_per_second=rows_per_second(totals, seconds),
        database=database_name(store),
        error=job.error,
    )


def seconds_taken(job: JobRecord, totals: JobTotals) -> float:
    """Return the seconds from the making of a job to its last commit, 0 before the first."""
    # What lands after a cancel, and what a purge closes, is not the job's own time.
    ends = [end for end in (totals.last_done_at, job.finished_at) if end is not None]
    if job.created_at is None or not ends:
        return 0.0
    return round(max((min(ends) - job.created_at).total_seconds(), 0.0), 3)


def rows_per_second(totals: JobTotals, seconds: float) -> float:
    """Return the rows that ended in a table, a second, to a tenth; 0 where no time passed."""
    return round((totals.labeled + totals.rejected) / seconds, 1) if seconds else 0.0


def database_name(store: Store) -> str:
    """Return the URL of a database as people may see it, SQLite's with the absolute path."""
    if store.dialect != "sqlite":
        return store.name
    return f"sqlite:///{Path(str(make_url(store.url).database)).absolute()}"


def render(summary: JobSummary) -> "RenderableType":
    """Return the summary for people: counts, reasons, label mix, speed, and what to do next."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    facts = Table.grid(padding=(0, 2))
    facts.add_column(style="dim", no_wrap=True)
    facts.add_column()
    for name, value in _facts(summary):
        facts.add_row(name, plain(value))
    lines: list[RenderableType] = [_headline(summary), facts]
    if summary.labels:
        lines += [Text(), label_bars(summary.labels)]
    hints = _hints(summary)
    if hints:
        lines += [Text(), Text(f"next: {' · '.join(hints)}", style="dim")]
    return Group(*lines)


def print_summary(summary: JobSummary) -> None:
    """Print the summary for people on stdout."""
    show(render(summary))


def label_bars(labels: Mapping[str, int]) -> "RenderableType":
    """Return the label mix, a line a label: name, rows, share, bar."""
    from rich.table import Table
    from rich.text import Text

    bars = Table.grid(padding=(0, 2))
    bars.add_column(no_wrap=True)
    bars.add_column(justify="right")
    bars.add_column(justify="right")
    bars.add_column(no_wrap=True)
    rows = sum(labels.values())
    most = max(labels.values(), default=0)
    for label, count in labels.items():
        bar = "█" * max(round(_BAR_WIDTH * count / most), 1)
        bars.add_row(plain(label), f"{count:,}", f"{count / rows:.1%}", Text(bar, style="cyan"))
    return bars


def _headline(summary: JobSummary) -> "Text":
    from rich.text import Text

    style = {"done": "bold green", "failed": "bold red"}.get(summary.state, "bold")
    why = f": {visible(summary.error)}" if summary.error else ""
    return Text(f"job {summary.job} is {summary.state}{why}", style=style)


def _facts(summary: JobSummary) -> list[tuple[str, str]]:
    facts = [
        ("source", summary.source),
        ("rows", f"{summary.rows:,}"),
        ("labelled", f"{summary.labeled:,}"),
        ("rejected", f"{summary.rejected:,}{_reasons(summary.reject_reasons)}"),
    ]
    if summary.waiting:
        # Of a job that ended early, nothing waits any more.
        name = "waiting" if summary.state == "running" else "left over"
        facts.append((name, f"{summary.waiting:,}"))
    if summary.truncated:
        rows = counted(summary.truncated, "row")
        facts.append(("truncated", f"{rows} longer than the model reads (marked)"))
    versions = ", ".join(
        f"version {version} ({counted(count, 'row')})"
        for version, count in summary.model_versions.items()
    )
    facts += [
        ("model", f"{summary.model} {versions}".strip()),
        ("engine", summary.engine or "-"),
        ("time", f"{summary.seconds:,.1f} s, {summary.rows_per_second:,.1f} rows/s"),
        ("database", summary.database),
    ]
    return facts


def _reasons(reasons: Mapping[str, int]) -> str:
    if not reasons:
        return ""
    named = [f"{count:,} {reason}" for reason, count in list(reasons.items())[:_REASONS_SHOWN]]
    if len(reasons) > _REASONS_SHOWN:
        named.append("…")
    return f" ({', '.join(named)})"


def _hints(summary: JobSummary) -> list[str]:
    hints = []
    if summary.rejected and summary.state != "purged":
        hints.append(f"producer rejects {summary.job}")
    if summary.labels:
        hints.append(f"producer export {summary.job} --out labels.csv")
    return hints
