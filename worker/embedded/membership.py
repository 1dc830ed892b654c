"""Membership in the embedded run of a HOME_DIR: join, keep alive, leave."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from db.errors import LabelstreamError, ServiceUnavailable, one_line
from worker.embedded.child import FIRST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS
from worker.embedded.locks import FileLock
from worker.embedded.plan import WORKER_GRACE_SECONDS
from worker.embedded.redis_server import answers, broker_url
from worker.embedded.run_record import ChildRecord, HomeFiles, RunRecord
from worker.embedded.starting import WORKER_COMMAND, Starter

if TYPE_CHECKING:
    from db.settings import Settings

log = logging.getLogger(__name__)

#: Seconds that a joiner waits for the run before to end: the worker's grace and some more.
_END_OF_RUN_SECONDS = WORKER_GRACE_SECONDS + 10.0

#: Seconds that a start that failed waits for what it had begun to end.
_END_OF_FAILED_START_SECONDS = 5.0

#: Seconds in which Redis must answer and the worker's process run; a busy machine needs several.
_START_SECONDS = 30.0

#: Seconds that a joiner waits while another one prepares and starts.
_OTHERS_START_SECONDS = 60.0

#: Seconds between two looks at whether the keeper lives.
_LOOK_SECONDS = 1.0


class Embedded:
    """Part of this process in the run; leaves it at the end of a `with` block.

    `broker_url` and `socket_path` stay the same for as long as it is a member, whatever dies.
    """

    def __init__(self, files: HomeFiles, starter: Starter) -> None:
        self._files = files
        self._starter = starter
        self._run_lock = FileLock(files.run_lock)
        self._start_lock = FileLock(files.start_lock)
        self._looking = threading.Lock()
        self._next_look = 0.0
        self._pause = FIRST_PAUSE_SECONDS
        self._leaving = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="embedded", daemon=True)
        self._joined: RunRecord | None = None

    @classmethod
    def join(
        cls,
        settings: "Settings",
        *,
        prepare: Callable[[], object] | None = None,
        worker_command: Sequence[str] = WORKER_COMMAND,
    ) -> Self:
        """Join the run of `settings.home`, and start it if there is none.

        `prepare` (migration, registration) runs while no other member prepares or starts.
        `worker_command` counts only for who starts the run. Returns when Redis answers and the
        worker's process runs; whether it is ready, `wait_until_ready` tells. Raises
        `LabelstreamError` if the run cannot be joined or started.
        """
        from db.settings import open_home

        files = HomeFiles(open_home(settings))
        files.logs.mkdir(mode=0o700, exist_ok=True)
        member = cls(files, Starter(files, settings, worker_command))
        try:
            member._enter(prepare)
        except BaseException:
            member.leave(_END_OF_FAILED_START_SECONDS)
            raise
        return member

    @property
    def socket_path(self) -> Path:
        """The socket of the private Redis."""
        assert self._joined is not None  # noqa: S101
        return self._joined.socket

    @property
    def broker_url(self) -> str:
        """The address of the private Redis, for Celery."""
        return broker_url(self.socket_path)

    @property
    def worker_log(self) -> Path:
        """Where the worker's output goes."""
        return self._files.log("worker")

    def wait_until_ready(self, timeout: float, ready: Callable[[], object] = lambda: True) -> None:
        """Wait until Redis answers and `ready` says something true.

        Raises `ServiceUnavailable` after `timeout` seconds, and with the worker's last words as
        soon as it ended by itself with an error.
        """
        deadline = time.monotonic() + timeout
        while not (answers(self.socket_path) and ready()):
            self.check_worker()
            self.keep_alive()
            if time.monotonic() > deadline:
                raise ServiceUnavailable(
                    f"the embedded worker was not ready within {timeout:.0f} s; "
                    f"see {self.worker_log}"
                )
            time.sleep(0.05)

    def check_worker(self) -> None:
        """Raise `ServiceUnavailable` if the worker ended by itself with an error since we joined.

        One that was killed is no such case: it is started again.
        """
        now = RunRecord.read(self._files.record)
        if now is None or self._joined is None:
            return
        same_keeper = now.keeper == self._joined.keeper
        before = self._joined.worker.deaths if same_keeper else 0
        if now.worker.deaths > before and (now.worker.status or 0) > 0:
            raise ServiceUnavailable(
                f"the embedded worker could not start: {_last_words(now.worker)} "
                f"(its log: {self.worker_log})"
            )

    def keep_alive(self) -> None:
        """See that a keeper lives, and start another if it was killed; never raises.

        A thread of the membership calls this every second; calling it more often is harmless.
        """
        if not self._looking.acquire(blocking=False):
            return
        try:
            if time.monotonic() >= self._next_look and not self._leaving.is_set():
                self._next_look = time.monotonic() + _LOOK_SECONDS
                self._revive()
        finally:
            self._looking.release()

    def leave(self, timeout: float = _END_OF_RUN_SECONDS) -> None:
        """Leave the run; if this was the last member, wait until Redis and worker are gone.

        After `timeout` seconds they are left to end by themselves.
        """
        self._leaving.set()
        with self._looking:
            member = self._run_lock.held
            self._run_lock.release()
        if member:
            self._wait_for_the_end(timeout)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        _kind: type[BaseException] | None,
        _error: BaseException | None,
        _traceback: TracebackType | None,
    ) -> None:
        self.leave()

    def _enter(self, prepare: Callable[[], object] | None) -> None:
        if not self._run_lock.acquire(shared=True, timeout=_END_OF_RUN_SECONDS):
            raise ServiceUnavailable(
                f"the run before in {self._files.home} has not ended within "
                f"{_END_OF_RUN_SECONDS:.0f} s; end the processes that {self._files.record} names, "
                "or set LABELSTREAM_HOME_DIR to another folder"
            )
        if not self._start_lock.acquire(timeout=_OTHERS_START_SECONDS):
            raise ServiceUnavailable(
                f"another ingest has been starting in {self._files.home} for "
                f"{_OTHERS_START_SECONDS:.0f} s; end it, or set LABELSTREAM_HOME_DIR to another "
                "folder"
            )
        try:
            self._starter.check_database()
            if prepare is not None:
                prepare()
            self._joined = self._starter.ensure(timeout=_START_SECONDS)
        finally:
            self._start_lock.release()
        self._thread.start()

    def _keep(self) -> None:
        while not self._leaving.wait(_LOOK_SECONDS):
            self.keep_alive()

    def _revive(self) -> None:
        try:
            # Whoever holds the lock is at it.
            if not self._start_lock.acquire():
                return
            try:
                if self._starter.keeper_lives():
                    self._pause = FIRST_PAUSE_SECONDS
                    return
                log.warning("the embedded Redis and worker were killed; starting them again")
                self._starter.ensure(timeout=LONGEST_PAUSE_SECONDS)
            finally:
                self._start_lock.release()
        except (LabelstreamError, OSError) as error:
            log.warning("the embedded mode could not be started again: %s", one_line(error))
            self._next_look = time.monotonic() + self._pause
            self._pause = min(LONGEST_PAUSE_SECONDS, 2 * self._pause)

    def _wait_for_the_end(self, timeout: float) -> None:
        deadline = time.monotonic() + timeout
        probe = FileLock(self._files.run_lock)
        record = RunRecord.read(self._files.record)
        while time.monotonic() < deadline:
            # Had alone: no member is left; the keeper is gone, or has not looked yet. Not had,
            # but shared: another member goes on. Not even shared: the keeper is about to leave.
            if probe.acquire():
                gone = self._starter.clear_if_ended()
                probe.release()
                # It gives its locks back a moment before its process ends.
                if gone and not (record and record.keeper and record.keeper.is_alive()):
                    return
            elif probe.acquire(shared=True):
                probe.release()
                return
            time.sleep(0.05)


def running_broker(settings: "Settings") -> str | None:
    """Return the address of the embedded Redis that runs in `settings.home` now, else None."""
    record = RunRecord.read(HomeFiles(settings.home).record)
    if record is None or record.keeper is None or not record.keeper.is_alive():
        return None
    return broker_url(record.socket)


def _last_words(worker: ChildRecord) -> str:
    said = one_line(LabelstreamError(worker.last_line)).removeprefix("error: ")
    return said if worker.last_line else f"it ended with status {worker.status} and said nothing"
