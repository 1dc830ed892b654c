"""`producer status`: the newest jobs and the workers alive, or everything about one job."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from db.ledger.jobs import JobRecord, get_job, list_jobs
from db.ledger.rates import Flow, StreamTotals, flow, running_streams
from db.ledger.totals import JobTotals, job_totals
from db.ledger.workers import WorkerRecord, living_workers
from db.store import Store
from producer.beginning import CONTENT, SOURCES
from producer.stream_status import flow_json, flow_words, stream_json, streams_table
from producer.summary import (
    JobSummary,
    database_name,
    render,
    rows_per_second,
    seconds_taken,
    summarise,
)
from producer.terminal import moment, plain

if TYPE_CHECKING:
    from datetime import datetime

    from rich.console import RenderableType
    from rich.table import Table

#: Jobs that the overview lists.
JOBS_SHOWN = 20


@dataclass(frozen=True)
class JobLine:
    """One job of the overview."""

    job: JobRecord
    totals: JobTotals

    @property
    def seconds(self) -> float:
        """From the making of the job to its last commit."""
        return seconds_taken(self.job, self.totals)

    @property
    def rows_per_second(self) -> float:
        """Rows labelled or rejected a second."""
        return rows_per_second(self.totals, self.seconds)

    def to_json(self) -> dict[str, Any]:
        """Return the job's object in the list of `status --json`."""
        return {
            "job": self.job.id,
            "source": self.job.source,
            "model": self.job.model_ref,
            "state": self.job.state,
            "stream": self.job.stream,
            "rows": self.totals.rows,
            "labeled": self.totals.labeled,
            "rejected": self.totals.rejected,
            "waiting": self.totals.waiting,
            "seconds": self.seconds,
            "rows_per_second": self.rows_per_second,
            "created_at": _iso(self.job.created_at),
            "finished_at": _iso(self.job.finished_at),
        }


@dataclass(frozen=True)
class Overview:
    """The newest jobs of a database, and the workers that serve it."""

    jobs: tuple[JobLine, ...]
    #: Sources without an end that are read now, all their jobs added up.
    streams: tuple[StreamTotals, ...]
    workers: tuple[WorkerRecord, ...]
    database: str

    def to_json(self) -> dict[str, Any]:
        """Return the object of `status --json`."""
        return {
            "jobs": [line.to_json() for line in self.jobs],
            "streams": [stream_json(stream) for stream in self.streams],
            "workers": [
                {
                    "name": worker.name,
                    "models": list(worker.model_versions),
                    "engine": worker.engine,
                    "device": worker.device,
                    "queues": list(worker.queues),
                }
                for worker in self.workers
            ],
            "database": self.database,
        }


@dataclass(frozen=True)
class JobDetails:
    """Everything about one job but its rows."""

    summary: JobSummary
    job: JobRecord
    totals: JobTotals
    #: How it flows, if its source has no end.
    flow: Flow | None

    def to_json(self) -> dict[str, Any]:
        """Return the object of `status JOB --json`: the summary's keys, then the others."""
        job, totals = self.job, self.totals
        return {
            **self.summary.to_json(),
            "source": job.source,
            "stream": job.stream,
            **(flow_json(self.flow) if self.flow is not None else {}),
            "options": dict(job.options),
            "model_asked_for": job.model_ref,
            "queue": job.queue,
            "store_text": job.store_text,
            "parent_job": job.parent_job,
            "producer": job.producer,
            "source_exhausted": job.source_exhausted,
            "error": job.error or job.source_error,
            "waiting": totals.waiting,
            "open_chunks": totals.open_chunks,
            "reject_reasons": dict(self.summary.reject_reasons),
            "truncated": self.summary.truncated,
            "engines": list(totals.engines),
            "tokens": totals.tokens,
            "busy_seconds": round(totals.busy_seconds, 3),
            "created_at": _iso(job.created_at),
            "last_done_at": _iso(totals.last_done_at),
            "finished_at": _iso(job.finished_at),
        }


def overview(store: Store, jobs: int = JOBS_SHOWN) -> Overview:
    """Return the newest jobs and the workers alive."""
    lines = tuple(JobLine(job, job_totals(store, job.id)) for job in list_jobs(store, jobs))
    streams = tuple(running_streams(store))
    return Overview(lines, streams, tuple(living_workers(store)), database_name(store))


def details(store: Store, job_id: int) -> JobDetails:
    """Return everything about one job.

    Raises `UsageError` if there is no such job.
    """
    summary = summarise(store, job_id)
    job = get_job(store, job_id)
    flows = flow(store, job_id) if job.stream is not None else None
    return JobDetails(summary, job, job_totals(store, job_id), flows)


def render_overview(found: Overview) -> "RenderableType":
    """Return the overview for people."""
    from rich.console import Group
    from rich.text import Text

    parts: list[RenderableType] = [Text(f"database {found.database}", style="dim")]
    if found.streams:
        parts.append(streams_table(found.streams))
    parts.append(_jobs(found.jobs) if found.jobs else Text("no jobs yet; producer ingest FILE"))
    parts.append(_workers(found.workers) if found.workers else Text("no worker is alive"))
    return Group(*parts)


def render_details(found: JobDetails) -> "RenderableType":
    """Return one job for people: the summary, then how it was asked for and when it ran."""
    from rich.console import Group
    from rich.table import Table
    from rich.text import Text

    job, totals = found.job, found.totals
    more = Table.grid(padding=(0, 2))
    more.add_column(style="dim", no_wrap=True)
    more.add_column()
    facts = [
        ("asked for", f"{job.model_ref}, queue {job.queue}"),
        ("engines", ", ".join(totals.engines) or "-"),
        ("tokens", f"{totals.tokens:,} in {totals.busy_seconds:,.1f} s of engine time"),
        ("started", f"{moment(job.created_at)} UTC"),
        ("last commit", f"{moment(totals.last_done_at)} UTC"),
        ("ended", f"{moment(job.finished_at)} UTC" if job.finished_at else "-"),
    ]
    facts += [
        (name.replace("_", "-"), _option(value))
        for name, value in sorted(job.options.items())
        if value not in (None, [], False) and name not in (CONTENT, SOURCES)
    ]
    if not job.store_text:
        facts.append(("texts", "not stored (--no-store-text)"))
    if job.parent_job is not None:
        facts.append(("relabels", f"job {job.parent_job}"))
    if job.state == "running":
        reading = _reading(job)
        facts.append(("source is", f"{reading}; {totals.open_chunks:,} chunks are open"))
    if found.flow is not None and job.state == "running":
        facts.append(("flow", flow_words(totals, found.flow)))
    if job.source_error:
        facts.append(("source error", job.source_error))
    for name, value in facts:
        more.add_row(plain(name), plain(value))
    return Group(render(found.summary), Text(), more)


def _jobs(lines: tuple[JobLine, ...]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("job", "source", "model", "state"):
        table.add_column(name, overflow="fold")
    for name in ("rows", "labeled", "rejected", "waiting", "rows/s"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("started (UTC)", no_wrap=True)
    for line in lines:
        counts = line.totals
        table.add_row(
            str(line.job.id),
            plain(line.job.source, 60),
            plain(line.job.model_ref),
            line.job.state,
            f"{counts.rows:,}",
            f"{counts.labeled:,}",
            f"{counts.rejected:,}",
            f"{counts.waiting:,}",
            f"{line.rows_per_second:,.1f}",
            moment(line.job.created_at),
        )
    return table


def _workers(workers: tuple[WorkerRecord, ...]) -> "Table":
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("worker", "models", "engine", "device", "queues"):
        table.add_column(name, overflow="fold")
    for worker in workers:
        models, queues = ", ".join(worker.model_versions), ", ".join(worker.queues)
        cells = (worker.name, models or "-", worker.engine, worker.device, queues or "-")
        table.add_row(*map(plain, cells))
    return table


def _reading(job: JobRecord) -> str:
    if job.source_exhausted:
        return "read to its end"
    if job.producer_lease_until is None:
        if not job.continues:
            return "read by nobody any more: it ends with the rows that it has"
        return (
            "read by nobody: it was interrupted, and the same command goes on with it, as does "
            f"producer resume {job.id}"
        )
    return f"read by {job.producer}"


def _option(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _iso(time: "datetime | None") -> str | None:
    return None if time is None else time.isoformat()
