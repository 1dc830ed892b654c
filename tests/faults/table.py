"""All faults, and one run of one of them from the beginning to the count."""

import time
from dataclasses import dataclass

from tests.faults.connection_faults import DatabaseCut, RedisCut
from tests.faults.counting import Judge, SourceRow
from tests.faults.database_faults import PostgresKilled, PostgresRestarted
from tests.faults.deployment import Deployment
from tests.faults.fault import Fault
from tests.faults.model_faults import Promotion
from tests.faults.producer_faults import (
    ProducerInterrupted,
    ProducerKilled,
    ProducerKilledBeforeAcknowledging,
    ProducerKilledBeforeSending,
    ProducerTerminated,
)
from tests.faults.redis_faults import (
    RedisEmptied,
    RedisKilled,
    RedisRestarted,
    RedisRestartedEmpty,
)
from tests.faults.sources import hash_is_right, numbered_rows
from tests.faults.worker_faults import (
    AllWorkersKilled,
    WorkerKilled,
    WorkerLost,
    WorkerStopped,
    WorkerTerminated,
)

FAULTS: tuple[type[Fault], ...] = (
    WorkerKilled,
    WorkerLost,
    AllWorkersKilled,
    WorkerStopped,
    WorkerTerminated,
    ProducerKilled,
    ProducerKilledBeforeSending,
    ProducerKilledBeforeAcknowledging,
    ProducerTerminated,
    ProducerInterrupted,
    RedisRestarted,
    RedisKilled,
    RedisEmptied,
    RedisRestartedEmpty,
    RedisCut,
    PostgresRestarted,
    PostgresKilled,
    DatabaseCut,
    Promotion,
)

BY_NAME = {fault.name: fault for fault in FAULTS}


@dataclass(frozen=True)
class Outcome:
    """What one run of a fault showed."""

    rows: int
    #: What showed that the fault was one.
    bit: str
    #: Seconds from the fault to the end of the job.
    seconds: float
    #: Of these, what the rows that were open took the workers that are left at the pace.
    work_seconds: float
    #: What is wrong with the rows; nothing if all is right.
    differences: list[str]


def run_fault(
    fault: Fault,
    deployment: Deployment,
    rows: list[SourceRow] | None = None,
    judge: Judge = hash_is_right,
) -> Outcome:
    """Send a job through `fault` and count its rows.

    Raises `AssertionError` if the fault had nothing to strike, did not strike, or if the job did
    not come to its end.
    """
    source = rows or numbered_rows(fault.name, deployment.form.rows)
    fault.prepare(deployment)
    job = fault.new_job(deployment, source, judge)
    job.begin(**fault.settings)
    if not fault.strikes_by_itself:
        job.wait_until_under_way()
    fault.strike(job)
    job.finish()
    seconds = time.monotonic() - job.struck_at
    work = job.open_when_struck * deployment.form.pace / len(deployment.workers)
    return Outcome(len(source), fault.bit(job), seconds, work, job.differences(fault.versions))
