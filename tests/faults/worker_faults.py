"""Workers that die, that all die, that stop and come back, that are asked to leave."""

import signal
import subprocess
import time

from tests.cluster import wait_until
from tests.faults.fault import Fault, taken_anew
from tests.faults.jobs import Job, Tenure

#: What a worker says of each chunk that it may not close.
FENCED = "fenced:"


def a_holder(job: Job) -> subprocess.Popen[str]:
    """Return a worker that holds leases: two, for it may close a chunk before it is struck."""
    found: subprocess.Popen[str] = wait_until(
        lambda: next(
            (worker for worker in job.deployment.workers if len(job.held_by(worker)) > 1), None
        ),
        60,
        "a worker holds leases",
    )
    return found


def frozen_holder(job: Job) -> tuple[subprocess.Popen[str], dict[int, Tenure]]:
    """Stop a worker while it holds leases; return it, and what it holds.

    Were it killed at once, others might take its leases back before anybody has looked.
    """
    for _ in range(20):
        victim = a_holder(job)
        job.deployment.cluster.pause(victim)
        held = job.held_by(victim)
        if held:
            return victim, held
        victim.send_signal(signal.SIGCONT)
    raise AssertionError("the victim held no lease whenever it was stopped")


class WorkerKilled(Fault):
    """One of two workers ends with -9 while it holds chunks."""

    name = "worker-killed"
    beyond_work = 30.0

    def strike(self, job: Job) -> None:
        victim, self.held = frozen_holder(job)
        job.deployment.kill_worker(victim)
        job.struck()

    def bit(self, job: Job) -> str:
        return taken_anew(job, self.held)


class WorkerLost(Fault):
    """A worker is gone with its machine: nobody sees its process end, only its lease."""

    name = "worker-lost"
    beyond_work = 30.0

    def strike(self, job: Job) -> None:
        deployment = job.deployment
        # While it stands still it does not tell the ledger again which process it is.
        victim, self.held = frozen_holder(job)
        deployment.change(
            "UPDATE workers SET process = NULL WHERE name LIKE :name", name=f"%/{victim.pid}"
        )
        deployment.kill_worker(victim)
        job.struck()

    def bit(self, job: Job) -> str:
        errors = job.last_errors(self.held)
        assert errors == {"lease ran out"}, f"what the ledger says of what it held: {errors}"
        return f"{taken_anew(job, self.held)}, after their leases had run out"


class AllWorkersKilled(Fault):
    """Every worker ends with -9; one is started later."""

    name = "all-workers-killed"

    def strike(self, job: Job) -> None:
        first, self.held = frozen_holder(job)
        for victim in [first, *(each for each in job.deployment.workers if each is not first)]:
            job.deployment.kill_worker(victim)
        job.struck()
        job.require_an_open_third()
        time.sleep(job.form.away)
        job.deployment.start_worker()

    def bit(self, job: Job) -> str:
        return taken_anew(job, self.held)


class WorkerStopped(Fault):
    """A worker is stopped for longer than its lease and comes back as if nothing had been."""

    name = "worker-stopped"

    def strike(self, job: Job) -> None:
        victim, self.held = frozen_holder(job)
        job.struck()
        try:
            before = job.deployment.log(victim).count(FENCED)
            time.sleep(job.form.stopped)
            wait_until(
                lambda: all(
                    now.claims > self.held[number].claims
                    for number, now in job.tenures(self.held).items()
                ),
                job.form.patience,
                "the other worker claims what the stopped one held",
            )
        finally:
            victim.send_signal(signal.SIGCONT)
        self.refused = wait_until(
            lambda: job.deployment.log(victim).count(FENCED) - before,
            job.form.patience,
            "the fence refuses what comes too late",
        )

    def bit(self, job: Job) -> str:
        return f"{taken_anew(job, self.held)}; the fence refused {self.refused}"


class WorkerTerminated(Fault):
    """A worker is asked to leave by TERM while it holds chunks."""

    name = "worker-terminated"

    def strike(self, job: Job) -> None:
        victim = a_holder(job)
        held = job.held_by(victim)
        assert held, "the victim held no lease when it was asked to leave"
        job.require_an_open_third()
        job.struck()
        status = job.deployment.terminate_worker(victim, job.form.leave)
        assert status == 0, f"the worker left with status {status}"
        assert not job.held_by(victim), "the worker left and took chunks along"
        self.held = set(held)
        log = job.deployment.log(victim)
        self.handed_back = log.count("handed back: ")

    def bit(self, job: Job) -> str:
        marks = ", ".join(map(str, self.held))
        suspects = job.deployment.value(
            f"SELECT count(*) FROM chunks WHERE job_id = :job AND number IN ({marks})"
            " AND (suspect OR strikes > 0)",
            job=job.number,
        )
        assert suspects == 0, "what was handed back in order is under suspicion"
        return f"it held {len(self.held)}, handed {self.handed_back} back, left with status 0"
