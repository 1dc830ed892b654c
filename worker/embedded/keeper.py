"""The keeper: parent of the embedded Redis and worker, gone when the last member has left.

Started by a member as `python -m worker.embedded.keeper DESCRIPTOR`, with a plan on standard
input and with the lock of `keeper.lock` in the open file DESCRIPTOR; it needs little more than
the standard library, because it lives as long as the run.
"""

import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path
from types import FrameType

from db.processes import ProcessId
from worker.embedded.child import Child
from worker.embedded.locks import FileLock
from worker.embedded.plan import WORKER_GRACE_SECONDS, Plan
from worker.embedded.readiness import Readiness
from worker.embedded.redis_server import answers, redis_config
from worker.embedded.run_record import HomeFiles, RunRecord
from worker.embedded.runtime_folder import ready_socket

#: Seconds between two looks at the children and at the members' lock.
_LOOK_SECONDS = 0.2

#: The same while Redis and the worker are being started.
_LOOK_AT_START_SECONDS = 0.01

#: Seconds between two looks at the size of the logs.
_LOOK_AT_LOGS_SECONDS = 30.0

#: Seconds of grace for the worker when the keeper is told to leave, as at a shutdown.
_HURRIED_GRACE_SECONDS = 8.0

_REDIS_GRACE_SECONDS = 5.0


class Keeper:
    """Starts Redis, then the worker; starts again what dies; ends both when nobody is left."""

    def __init__(self, plan: Plan, keeper_lock: FileLock) -> None:
        files = HomeFiles(Path(plan.home))
        record = RunRecord.read(files.record)
        if record is None:
            raise SystemExit(f"{files.record} was not written by the member that starts the run")
        self._files = files
        self._record = replace(record, keeper=ProcessId.of(os.getpid()))
        self._keeper_lock = keeper_lock
        self._run_lock = FileLock(files.run_lock)
        config = redis_config(record.socket)
        self._redis = Child([plan.redis, "-"], files.log("redis"), config)
        self._readiness = Readiness(ready_socket(record.socket))
        self._worker = Child(
            plan.worker_command, files.log("worker"), environment=self._readiness.environment
        )
        self._worker_begun = False
        self._unwritten = True
        self._told_to_leave = False
        self._logs_looked_at = time.monotonic()

    def run(self) -> None:
        """Keep the run until the last member has left, or until told to leave."""
        signal.signal(signal.SIGTERM, self._on_term)
        try:
            while not self._told_to_leave and not self._run_lock.acquire():
                self._tend()
                time.sleep(_LOOK_SECONDS if self._worker_begun else _LOOK_AT_START_SECONDS)
        finally:
            # The members' lock is kept to the end: who joins now waits, and starts afresh.
            self._leave()

    def _on_term(self, _number: int, _frame: FrameType | None) -> None:
        self._told_to_leave = True

    def _tend(self) -> None:
        changed = self._redis.tend() or self._unwritten
        # The worker begins when its broker answers, not before: it would wait a second to retry.
        self._worker_begun = self._worker_begun or answers(self._record.socket)
        if self._worker_begun:
            self._worker.ready = self._readiness.heard() or self._worker.ready
            changed = self._worker.tend() or changed
        if changed:
            self._record = replace(
                self._record, redis=self._redis.record, worker=self._worker.record
            )
            self._unwritten = not self._write()
        if time.monotonic() - self._logs_looked_at > _LOOK_AT_LOGS_SECONDS:
            self._logs_looked_at = time.monotonic()
            self._redis.bound_log()
            self._worker.bound_log()

    def _write(self) -> bool:
        try:
            self._record.write(self._files.record)
        except OSError as error:
            # A full disk passes, and ends no run: the next look tries again.
            print(f"{self._files.record}: {error.strerror}", file=sys.stderr)  # noqa: T201
            return False
        return True

    def _leave(self) -> None:
        self._worker.end(_HURRIED_GRACE_SECONDS if self._told_to_leave else WORKER_GRACE_SECONDS)
        self._redis.end(_REDIS_GRACE_SECONDS)
        self._readiness.close()
        # Without the keeper's name: it shall not end itself.
        gone = replace(self._record, keeper=None)
        gone.remove(self._files.record)
        # In this order: who then gets the members' lock must find no keeper.
        self._keeper_lock.release()
        self._run_lock.release()


def _detach() -> None:
    """Go on as a child of nobody, so that no member has to wait for it."""
    if os.fork():
        os._exit(0)


def main(arguments: list[str], plan: bytes) -> None:
    """Be the keeper that `plan` describes."""
    _detach()
    settled = Plan.from_wire(plan)
    lock = FileLock.inherited(HomeFiles(Path(settled.home)).keeper_lock, int(arguments[0]))
    Keeper(settled, lock).run()


if __name__ == "__main__":
    main(sys.argv[1:], sys.stdin.buffer.read())
