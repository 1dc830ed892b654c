"""What became of a call that enters rows."""

from dataclasses import dataclass

from db.ledger.jobs import JobRecord
from db.store import Store
from producer.summary import JobSummary, summarise


@dataclass(frozen=True)
class Outcome:
    """What became of a call: the job's summary, and why the job came to no good end, if so."""

    summary: JobSummary
    failure: str | None = None


def finish(store: Store, job: JobRecord, *, wait: bool) -> Outcome:
    """Return the outcome of a job that this call has left; with `wait` it has ended or was drained."""
    summary = summarise(store, job.id)
    failure = None
    if summary.state == "failed":
        failure = f"job {job.id} failed: {summary.error}"
    elif summary.state == "cancelled":
        failure = f"job {job.id} was cancelled; {summary.labeled:,} rows are labelled"
    elif wait and summary.state == "done" and summary.rows and not summary.labeled:
        failure = (
            f"job {job.id}: every row was rejected ({summary.rows:,}); "
            f"see: producer rejects {job.id}"
        )
    return Outcome(summary, failure)
