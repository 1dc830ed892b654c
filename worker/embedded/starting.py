"""Starting a keeper, and telling whether one lives."""

import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from db.errors import ServiceUnavailable, UsageError, hide_password, one_line
from worker.embedded.child import last_log_line
from worker.embedded.environment import absolute_url, worker_environment
from worker.embedded.locks import FileLock
from worker.embedded.plan import Plan
from worker.embedded.redis_server import answers, find_redis
from worker.embedded.run_record import HomeFiles, RunRecord
from worker.embedded.runtime_folder import make_runtime_folder

if TYPE_CHECKING:
    from db.settings import Settings

#: The worker as everybody starts it, but that it looks for no neighbours: it has none, and the
#: look takes a second of the start.
WORKER_COMMAND = (
    *(sys.executable, "-m", "celery", "-A", "worker", "worker"),
    *("--without-mingle", "--without-gossip"),
)

#: Seconds that the keeper's process has to detach itself.
_DETACH_SECONDS = 20.0

#: Keepers that may die at once before the start is given up.
_TRIES = 3


class Starter:
    """Starts the run of one HOME_DIR; its callers hold the members' lock."""

    def __init__(
        self, files: HomeFiles, settings: "Settings", worker_command: Sequence[str]
    ) -> None:
        self._files = files
        self._settings = settings
        self._worker_command = list(worker_command)
        self._keeper_lock = FileLock(files.keeper_lock)
        #: The socket of the run that this process is a member of.
        self._socket: Path | None = None
        self._database = hide_password(absolute_url(settings.store_url))

    def keeper_lives(self) -> bool:
        """Whether a keeper lives; its lock, not its record, is the truth."""
        if self._keeper_lock.acquire():
            self._keeper_lock.release()
            return False
        return True

    def check_database(self) -> None:
        """Raise `UsageError` if the run that lives serves another database than ours."""
        record = RunRecord.read(self._files.record)
        if record is not None and record.database != self._database and self.keeper_lives():
            raise UsageError(
                f"an ingest into another database ({record.database}) runs in {self._files.home}; "
                "wait for its end, or set LABELSTREAM_HOME_DIR to another folder"
            )

    def ensure(self, timeout: float) -> RunRecord:
        """Return the run that lives, started if need be, its Redis answering.

        Raises `ServiceUnavailable` if there is none within `timeout` seconds.
        """
        deadline = time.monotonic() + timeout
        started = 0
        while True:
            if self._keeper_lock.acquire():
                try:
                    if started == _TRIES:
                        raise self._failure("its keeper died", "keeper")
                    self._start()
                    started += 1
                finally:
                    self._keeper_lock.release()
            record = RunRecord.read(self._files.record)
            if record is not None and _is_up(record):
                self._socket = record.socket
                return record
            if record is not None and (record.redis.status or 0) > 0:
                raise self._failure("Redis ended", "redis")
            if time.monotonic() > deadline:
                raise self._failure(f"nothing answered within {timeout:.0f} s", "redis")
            time.sleep(0.01)

    def clear_if_ended(self) -> bool:
        """Tell whether no keeper lives; then remove what one that was killed left.

        The caller holds the members' lock alone: nobody needs the socket any more.
        """
        if not self._keeper_lock.acquire():
            return False
        try:
            record = RunRecord.read(self._files.record)
            if record is not None:
                record.remove(self._files.record)
        finally:
            self._keeper_lock.release()
        return True

    def _start(self) -> None:
        """Start a keeper that inherits the lock which this process holds."""
        redis = find_redis()
        before = RunRecord.read(self._files.record)
        if before is not None:
            before.end_processes()
        # The same socket again: members that outlived their keeper have its address.
        known = self._socket or (before.socket if before is not None else None)
        socket_path = make_runtime_folder(known)
        versions = {
            "labelstream": _own_version(),
            "python": platform.python_version(),
            "redis": redis.version,
        }
        RunRecord(socket_path, self._database, versions).write(self._files.record)
        plan = Plan(str(self._files.home), redis.path, self._worker_command)
        descriptor = self._keeper_lock.descriptor
        with self._files.log("keeper").open("wb") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", "worker.embedded.keeper", str(descriptor)],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=subprocess.STDOUT,
                cwd=self._files.logs,
                env=worker_environment(self._settings, socket_path),
                pass_fds=(descriptor,),
                # A Ctrl-C at the terminal is for the producer; it decides when the worker leaves.
                start_new_session=True,
            )
            try:
                process.communicate(plan.to_wire(), timeout=_DETACH_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _failure(self, what: str, name: str) -> ServiceUnavailable:
        path = self._files.log(name)
        said = one_line(ServiceUnavailable(last_log_line(path) or "its log is empty"))
        return ServiceUnavailable(
            f"the embedded mode could not start, {what}: {said} (its log: {path}); "
            "mend that, or set LABELSTREAM_BROKER_URL"
        )


def _is_up(record: RunRecord) -> bool:
    begun = record.worker.process is not None or record.worker.deaths > 0
    return begun and answers(record.socket)


def _own_version() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("labelstream")
    except PackageNotFoundError:
        return "unknown"
