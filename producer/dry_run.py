"""`producer ingest --dry-run`: check every row, label a few, and tell what the whole would be."""

import secrets
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

from db.errors import one_line
from db.ledger.ending import reject_limit
from db.ledger.jobs import NewJob, create_job, get_job
from db.ledger.stopping import cancel, purge
from db.ledger.totals import job_totals, label_mix
from db.registry.names import parse_ref
from db.settings import Settings
from producer.beginning import producer_name
from producer.chunking import chunked, placed
from producer.ingest import START, check_model, open_reader
from producer.live_source import live_source
from producer.reader import Reader
from producer.request import IngestRequest
from producer.rows import RejectedRow, Row, SourceError
from producer.running import JobRun
from producer.screen import Screen
from producer.services import Services, open_services
from producer.sources import resolve_sources

#: Rows that a dry run labels.
SAMPLE_ROWS = 200

#: Rows of its chunks: small, so that every thread of a worker has one.
_CHUNK_ROWS = 50


@dataclass
class Count:
    """What reading the whole source found."""

    rows: int = 0
    rejects: Counter[str] = field(default_factory=Counter)
    source_error: str | None = None

    @property
    def rejected(self) -> int:
        """Rows that the parser rejected."""
        return sum(self.rejects.values())


@dataclass(frozen=True)
class DryRun:
    """What a dry run tells."""

    rows: int
    rejected: int
    reasons: dict[str, int]
    sampled: int
    labels: dict[str, int]
    rows_per_second: float
    expected_seconds: float
    #: Why the job would fail; None if it would not.
    error: str | None

    def to_json(self) -> dict[str, Any]:
        """Return it as one JSON object."""
        return {"dry_run": True, **asdict(self)}


def dry_run(request: IngestRequest, settings: Settings, screen: Screen) -> DryRun:
    """Read and check all of the source, label its first good rows, and leave nothing behind.

    Raises what `ingest` raises for a source, a model or a service that cannot be used.
    """
    reference = parse_ref(request.model)
    # Refused: a dry run reads its source to the end.
    live_source(request, screen.warn)
    reader = open_reader(resolve_sources(request.sources), request.read, START)
    with open_services(settings, queue=request.queue, say=screen.say) as services:
        for note in reader.notes:
            screen.say(note)
        check_model(services.store, reference)
        new = NewJob(
            source="dry run",
            identity=f"dry-run-{secrets.token_hex(16)}",
            source_identity="dry-run",
            id_scope="dry-run",
            options={},
            model=reference.model,
            model_ref=str(reference),
            queue=request.queue,
            position=asdict(START),
            store_text=False,
            hidden=True,
        )
        return _sample_and_count(services, new, reader, screen, request)


def _sample_and_count(
    services: Services, new: NewJob, reader: Reader, screen: Screen, request: IngestRequest
) -> DryRun:
    production = create_job(services.store, new, producer_name())
    job = get_job(services.store, production.job)
    count = Count()
    try:
        items = iter(reader)
        run = JobRun(services, job, production, screen, max_queued=request.max_queued)
        started = time.monotonic()
        sample = chunked(lambda _: _good_rows(items, count), _CHUNK_ROWS)
        run.run(placed(sample, lambda: {**asdict(START), "row": count.rows}), wait=True)
        seconds = time.monotonic() - started
        for _ in _counted(items, count):
            pass
        totals = job_totals(services.store, job.id)
        rate = totals.rows / seconds if totals.rows else 0.0
        good = count.rows - count.rejected
        return DryRun(
            rows=count.rows,
            rejected=count.rejected,
            reasons=dict(count.rejects.most_common()),
            sampled=totals.rows,
            labels=label_mix(services.store, job.id),
            rows_per_second=round(rate, 1),
            expected_seconds=round(good / rate, 1) if rate else 0.0,
            error=_why_it_would_fail(count, request.max_rejects),
        )
    finally:
        cancel(services.store, job.id)
        purge(services.store, job.id)


def _why_it_would_fail(count: Count, max_rejects: str | None) -> str | None:
    if count.source_error is not None:
        return f"{count.source_error} (after {count.rows:,} rows)"
    limit = reject_limit(max_rejects, count.rows)
    if limit is not None and count.rejected > limit:
        return (
            f"{count.rejected} of {count.rows} rows were rejected, "
            f"more than --max-rejects {max_rejects}"
        )
    if count.rows and count.rejected == count.rows:
        return f"every row was rejected ({count.rows:,})"
    return None


def _good_rows(items: Iterator[Row | RejectedRow], count: Count) -> Iterator[Row]:
    """Yield the first rows that can be labelled."""
    taken = 0
    for item in _counted(items, count):
        if isinstance(item, Row):
            yield item
            taken += 1
            if taken == SAMPLE_ROWS:
                return


def _counted(items: Iterator[Row | RejectedRow], count: Count) -> Iterator[Row | RejectedRow]:
    try:
        for item in items:
            count.rows += 1
            if isinstance(item, RejectedRow):
                count.rejects[item.reason] += 1
            yield item
    except SourceError as error:
        count.source_error = one_line(error)
