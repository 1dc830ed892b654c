"""What goes on while chaos reigns: sources that are read without a pause, whatever dies."""

import signal
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence

from tests.faults.deployment import Deployment
from tests.faults.file_job import FileJob
from tests.faults.jobs import Job
from tests.faults.servers import RedisServer
from tests.faults.sources import hash_is_right, numbered_rows
from tests.faults.stream_job import StreamJob

#: Seconds after which a command that came to a bad end by itself is given again.
_AGAIN_SECONDS = 1.0

#: How a producer may end that could not reach its services, or that we struck.
_EXPECTED = (2, 130, -signal.SIGKILL)


class Lane(ABC):
    """One source after the other, and whoever reads it now."""

    def __init__(
        self, name: str, deployment: Deployment, model: str, tell: Callable[[str], None]
    ) -> None:
        self.name = name
        self._deployment = deployment
        self._model = model
        self._tell = tell
        self._process: subprocess.Popen[str] | None = None
        self._again_at = 0.0
        self._struck = False
        self._asked = False
        self.jobs: list[Job] = []
        #: What no producer may do: end otherwise than by a signal or for lack of a service.
        self.failures: list[str] = []

    def strike(self, how: signal.Signals) -> None:
        """End the producer, if one runs at the moment; it stays away until it is mended."""
        self._struck = True
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(how)

    def mend(self) -> None:
        """Let somebody give the same command again."""
        self._struck = False
        self._again_at = time.monotonic()

    def go_on(self, last: bool = False) -> None:
        """Look after the producer; with `last`, begin nothing that is new."""
        if self._process is not None and self._process.poll() is not None:
            self._note_end(self._process)
            self._process = None
        self.feed(last)
        if self._process is None and not self._struck and time.monotonic() >= self._again_at:
            job = self.next_job(last)
            if job is not None:
                self._process = job.start_producer()
                self._asked = False

    def _note_end(self, process: subprocess.Popen[str]) -> None:
        out, err = process.communicate()
        status = process.returncode
        if status == 0:
            self.left()
            return
        said = (err.strip().splitlines() or ["nothing"])[-1]
        self._tell(f"{self.name} left with status {status}: {said}")
        # In its first tenths of a second Python itself is ended by a signal, before it is ours.
        unborn = status in (-signal.SIGINT, -signal.SIGTERM) and not out + err
        if not (unborn or status in _EXPECTED) or "Traceback" in out + err:
            self.failures.append(f"{self.name} left with status {status}: {err.strip()}")
        self._again_at = time.monotonic() + _AGAIN_SECONDS

    def stop_producer(self) -> None:
        """Ask the producer to leave, once."""
        if self._process is not None and not self._asked:
            self._asked = True
            self._process.terminate()

    @abstractmethod
    def next_job(self, last: bool) -> Job | None:
        """Return whose command is to be given now; None if there is nothing more to do."""

    @abstractmethod
    def left(self) -> None:
        """Note that a producer left in order."""

    @abstractmethod
    def feed(self, last: bool) -> None:
        """Give the source what is due."""

    @abstractmethod
    def is_finished(self) -> bool:
        """Whether everything that was begun is done; asked when nothing more is struck."""


class FileLane(Lane):
    """File after file; each is read until its producer has seen the end of its job."""

    def __init__(
        self,
        deployment: Deployment,
        model: str,
        rows: int,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__("file producer", deployment, model, tell)
        self._rows = rows
        self._done = True

    def next_job(self, last: bool) -> Job | None:
        """Return the file under way, or a new one."""
        if self._done and last:
            return None
        if self._done:
            name = f"file-{len(self.jobs) + 1}"
            rows = numbered_rows(name, self._rows)
            self.jobs.append(FileJob(self._deployment, name, rows, hash_is_right, self._model))
            self._done = False
        return self.jobs[-1]

    def left(self) -> None:
        """The file is done: only then does its producer leave in order."""
        self._done = True

    def feed(self, last: bool) -> None:
        """A file has all its rows from the beginning."""

    def is_finished(self) -> bool:
        """Whether the last file is done."""
        return self._done


class StreamLane(Lane):
    """A Redis stream to which entries are added all the time."""

    def __init__(
        self, deployment: Deployment, model: str, rate: float, tell: Callable[[str], None]
    ) -> None:
        super().__init__("stream producer", deployment, model, tell)
        self._rate = rate
        self._began = time.monotonic()
        self._source = StreamJob(deployment, "stream", [], hash_is_right, model)
        self.jobs.append(self._source)
        self._leaving = False
        self._left = False

    @property
    def server(self) -> RedisServer:
        """The Redis of the stream, which can be struck as well."""
        return self._source.server

    def next_job(self, last: bool) -> Job | None:
        """Return the stream, for as long as it is read."""
        return None if self._left else self._source

    def left(self) -> None:
        """A producer of a stream leaves in order when it is told to."""
        self._left = self._leaving

    def feed(self, last: bool) -> None:
        """Add the entries that are due by the clock."""
        if last or not self.server.is_running:
            return
        due = int((time.monotonic() - self._began) * self._rate)
        first = len(self._source.rows) + 1
        self._source.add(numbered_rows("entry", due + 1 - first, first))

    def is_finished(self) -> bool:
        """Whether every entry is done and acknowledged; its producer is told to leave then."""
        if self._left:
            return self._source.is_over()
        if not self._source.open_rows() and not self._source.pending():
            self._leaving = True
            self.stop_producer()
        return False


def rows_of(lanes: Sequence[Lane]) -> int:
    """Return how many rows all sources had."""
    return sum(len(job.rows) for lane in lanes for job in lane.jobs)
