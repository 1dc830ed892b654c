"""Producers that die in mid-file, or between two steps, or are told to stop; then the same again."""

import signal
from collections.abc import Sequence
from typing import ClassVar

from tests.cluster import wait_until
from tests.faults.counting import Judge, SourceRow
from tests.faults.deployment import Deployment
from tests.faults.fault import Fault
from tests.faults.jobs import Job
from tests.faults.stream_job import StreamJob

#: Which message is never sent.
_LAST_CALL = 10


class _ProducerFault(Fault):
    """The producer ends somehow, and the same command goes on with its job."""

    how: ClassVar[signal.Signals]
    status: ClassVar[int]

    def strike(self, job: Job) -> None:
        assert job.producer is not None
        assert not job.is_exhausted(), "there is nothing left to read"
        before = _token(job)
        job.producer.send_signal(self.how)
        job.struck()
        status = job.producer_ends(job.form.leave)
        assert status == self.status, f"the producer left with status {status}: {job.said}"
        assert not job.is_exhausted(), "it had read everything before it left"
        self.position = _position(job)
        go_on(job, before)

    def bit(self, job: Job) -> str:
        return f"{gone_on(job)} from row {self.position:,}"


class ProducerKilled(_ProducerFault):
    """-9 in mid-file."""

    name = "producer-killed"
    how = signal.SIGKILL
    status = -signal.SIGKILL


class ProducerTerminated(_ProducerFault):
    """TERM in mid-file, as a supervisor sends it."""

    name = "producer-terminated"
    how = signal.SIGTERM
    status = 130

    def bit(self, job: Job) -> str:
        assert "is interrupted and loses nothing" in job.said, job.said
        return super().bit(job)


class ProducerInterrupted(ProducerTerminated):
    """Ctrl-C in mid-file."""

    name = "producer-interrupted"
    how = signal.SIGINT


class ProducerKilledBeforeAcknowledging(Fault):
    """-9 between the commit of a stream's entries and their acknowledgement."""

    name = "producer-killed-before-acknowledging"
    strikes_by_itself = True
    settings: ClassVar[dict[str, str]] = {"FAULTS_DIE_BEFORE": f"redis:Redis.xack:{_LAST_CALL}"}

    def new_job(self, deployment: Deployment, rows: Sequence[SourceRow], judge: Judge) -> StreamJob:
        return StreamJob(deployment, self.name, rows, judge)

    def strike(self, job: Job) -> None:
        assert isinstance(job, StreamJob)
        status = job.producer_ends(job.form.patience)
        job.struck()
        assert status == -signal.SIGKILL, f"it left with status {status}: {job.said}"
        assert not job.is_exhausted(), "it had read everything before it died"
        self.pending = set(job.pending())
        assert self.pending, "everything was acknowledged"
        assert self.pending <= job.noted(), "what is not acknowledged is not in the ledger either"
        job.again()

    def bit(self, job: Job) -> str:
        assert isinstance(job, StreamJob)
        assert not job.pending(), "nobody acknowledged what the dead one had not"
        jobs = len(job.numbers())
        assert jobs == 2, f"each producer has a job of its own, not {jobs} together"
        return f"{len(self.pending)} entries entered, not acknowledged, delivered again"


class ProducerKilledBeforeSending(Fault):
    """-9 between the commit of a chunk and the message that names it."""

    name = "producer-killed-before-sending"
    strikes_by_itself = True
    settings: ClassVar[dict[str, str]] = {
        "FAULTS_DIE_BEFORE": f"worker.outbox:CeleryOutbox.send:{_LAST_CALL}"
    }

    def strike(self, job: Job) -> None:
        status = job.producer_ends(job.form.patience)
        job.struck()
        assert status == -signal.SIGKILL, f"it left with status {status}: {job.said}"
        assert not job.is_exhausted(), "it had read everything before it died"
        query = "SELECT max(number) FROM chunks WHERE job_id = :job"
        assert job.deployment.value(query, job=job.number) == _LAST_CALL, "the chunk is committed"
        go_on(job, _token(job))

    def bit(self, job: Job) -> str:
        # No producer sends the message of a chunk that is there already.
        claims = job.tenures([_LAST_CALL])[_LAST_CALL].claims
        assert claims > 0, "nobody sent the message that the dead one had not"
        return f"{gone_on(job)}; a sweeper sent the message of chunk {_LAST_CALL}"


def go_on(job: Job, before: str | None) -> None:
    """Give the same command again, and wait until it has the job under a token of its own."""
    job.again()
    wait_until(
        lambda: _token(job) not in (None, before),
        job.form.patience,
        "another producer has the job",
    )


def gone_on(job: Job) -> str:
    """Assert that the second command went on with the same job."""
    assert f"continuing job {job.number} after row" in job.said, job.said
    return "the same job went on under another token"


def _token(job: Job) -> str | None:
    query = "SELECT producer_token FROM jobs WHERE id = :job"
    token: str | None = job.deployment.value(query, job=job.number)
    return token


def _position(job: Job) -> int:
    query = "SELECT sum(row_count) FROM chunks WHERE job_id = :job AND parent_number IS NULL"
    return int(job.deployment.value(query, job=job.number))
