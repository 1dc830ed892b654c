"""A child of the keeper: started, started again with growing pauses, ended; its log bounded."""

import os
import shutil
import subprocess
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from db.processes import ProcessId
from worker.embedded.dying import dying_with_this_process
from worker.embedded.run_record import ChildRecord

#: Seconds before a child that died is started again: the first pause, and the longest.
FIRST_PAUSE_SECONDS = 0.5
LONGEST_PAUSE_SECONDS = 10.0

#: Seconds that a child which never told that it was ready must have lived for the pauses to begin
#: anew.
HEALTHY_SECONDS = 60.0

#: Bytes at which a log is put aside (as `….log.1`, over the one before).
LOG_BYTES = 8_000_000

#: Bytes at the end of a log in which its last line is looked for.
_TAIL_BYTES = 4096


class Child:
    """One supervised process."""

    def __init__(
        self,
        command: Sequence[str],
        log: Path,
        stdin: str = "",
        *,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._command = list(command)
        self._log = log
        self._stdin = stdin
        self._environment = environment or {}
        self._process: subprocess.Popen[bytes] | None = None
        self._started_at = 0.0
        self._next_start = 0.0
        #: Seconds before the next start, should the process die.
        self.pause = FIRST_PAUSE_SECONDS
        self._log_begin = 0
        #: It has told that it could be started: then its death is another's fault, a row's perhaps.
        self.ready = False
        self.record = ChildRecord()

    def tend(self) -> bool:
        """See that the process runs or will run; tell whether anything changed."""
        now = time.monotonic()
        if self._process is None:
            if now < self._next_start:
                return False
            self._start(now)
            return True
        status = self._process.poll()
        if status is None:
            return False
        self._died(status, now)
        return True

    def end(self, grace: float) -> None:
        """Ask the process to leave, and after `grace` seconds make it."""
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(grace)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None

    def bound_log(self) -> None:
        """Put the log aside if it has grown too long; its writers go on at the new beginning."""
        with suppress(OSError):
            if self._log.stat().st_size > LOG_BYTES:
                shutil.copyfile(self._log, self._log.with_name(self._log.name + ".1"))
                os.truncate(self._log, 0)
                self._log_begin = 0

    def _start(self, now: float) -> None:
        self.bound_log()
        self._started_at = now
        self.ready = False
        try:
            with self._log.open("ab") as output:
                self._log_begin = output.tell()
                self._process = subprocess.Popen(
                    self._command,
                    stdin=subprocess.PIPE,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._log.parent,
                    env={**os.environ, **self._environment},
                    preexec_fn=dying_with_this_process(),
                )
        except (OSError, subprocess.SubprocessError) as error:
            self._died(127, now, f"{self._command[0]}: {error}")
            return
        assert self._process.stdin is not None  # noqa: S101
        with suppress(BrokenPipeError), self._process.stdin as pipe:
            pipe.write(self._stdin.encode())
        before = self.record
        who = ProcessId.of(self._process.pid)
        self.record = ChildRecord(who, before.deaths, before.status, before.last_line)

    def _died(self, status: int, now: float, last_line: str | None = None) -> None:
        if self.ready or now - self._started_at > HEALTHY_SECONDS:
            self.pause = FIRST_PAUSE_SECONDS
        self._process = None
        self._next_start = now + self.pause
        self.pause = min(LONGEST_PAUSE_SECONDS, self.pause * 2)
        said = last_line if last_line is not None else last_log_line(self._log, self._log_begin)
        self.record = ChildRecord(None, self.record.deaths + 1, status, said)


def last_log_line(log: Path, begin: int = 0) -> str:
    """Return the last line of `log` that is not blank, from byte `begin` on; else nothing."""
    try:
        with log.open("rb") as file:
            end = file.seek(0, os.SEEK_END)
            file.seek(max(begin, end - _TAIL_BYTES))
            lines = file.read().decode(errors="replace").splitlines()
    except OSError:
        return ""
    return next((line.strip() for line in reversed(lines) if line.strip()), "")
