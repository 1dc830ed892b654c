"""What a promotion would flip: `training compare` in a process of its own, one at a time."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from db.errors import UsageError
from db.ledger.jobs import get_job
from db.settings import Settings
from db.store import Store

log = logging.getLogger(__name__)

#: Seconds after which a comparison is given up.
LIMIT_SECONDS = 600.0

#: Results that are kept, for they hold texts; the one that came first leaves.
MOST_KEPT = 10

#: Comparisons that wait for the one under way.
MOST_WAITING = 8

#: What is started, before the versions and the options.
COMPARE = (sys.executable, "-P", "-m", "training.cli", "compare")

#: What is shown of the object that `training compare --json` prints.
_SHOWN = ("rows", "flips", "from_to", "most_confident")


@dataclass(frozen=True, slots=True)
class Asked:
    """Two versions, as `emotion:1`, on so many rows of a job."""

    before: str
    after: str
    job: int
    sample: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a comparison; both None while it waits or is under way."""

    #: Of the object that `training compare --json` prints: what is shown.
    found: Mapping[str, Any] | None = None
    #: The last line that it said instead.
    failure: str | None = None

    @property
    def is_over(self) -> bool:
        """Whether there is anything to show."""
        return self.found is not None or self.failure is not None


class Comparisons:
    """Runs them one after the other, beside the pages: each loads two models.

    `limit` in seconds; `command` is what is started for one.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        limit: float = LIMIT_SECONDS,
        command: Sequence[str] = COMPARE,
    ) -> None:
        self._store = store
        self._settings = settings
        self._limit = limit
        self._command = command
        self._lock = Lock()
        self._turn = Lock()
        self._made: dict[Asked, Compared] = {}

    def begin(self, asked: Asked) -> None:
        """Begin a comparison, or begin it again where it failed.

        Raises `UsageError` if there is no such job, it was purged, or too many wait already.
        """
        if self._is_purged(asked.job):
            raise UsageError(_purged(asked.job))
        with self._lock:
            known = self._made.get(asked)
            if known is not None and known.failure is None:
                return
            unfinished = sum(not made.is_over for made in self._made.values())
            if unfinished > MOST_WAITING:
                raise UsageError(f"{MOST_WAITING} comparisons wait already: try later")
            self._made[asked] = Compared()
        try:
            Thread(target=self._run, args=(asked,), name="compare", daemon=True).start()
        except RuntimeError:
            self._keep(asked, Compared(failure="no thread could be had for it: try later"))

    def of(self, asked: Asked) -> Compared | None:
        """Return what came of it; None if it was never asked for, or its result has left.

        Texts of a job that was purged meanwhile are forgotten, not shown. Raises `UsageError` if
        there is no such job.
        """
        with self._lock:
            made = self._made.get(asked)
        if made is None or made.found is None or not self._is_purged(asked.job):
            return made
        gone = Compared(failure=_purged(asked.job))
        self._keep(asked, gone)
        return gone

    def _run(self, asked: Asked) -> None:
        try:
            with self._turn:
                made = self._compared(asked)
            if self._is_purged(asked.job):
                made = Compared(failure=_purged(asked.job))
        except Exception as error:
            # Whatever it was, it is over: nobody may wait for it for ever.
            log.exception("a comparison broke")
            made = Compared(failure=f"it broke ({type(error).__name__})")
        self._keep(asked, made)

    def _keep(self, asked: Asked, made: Compared) -> None:
        with self._lock:
            # Put at the end: the first one is the one that has been over for longest.
            self._made.pop(asked, None)
            self._made[asked] = made
            over = [one for one, known in self._made.items() if known.is_over]
            for one in over[:-MOST_KEPT]:
                del self._made[one]

    def _is_purged(self, job: int) -> bool:
        return get_job(self._store, job).state == "purged"

    def _compared(self, asked: Asked) -> Compared:
        # The address travels in the environment: a command line is for everybody to see.
        environment = {
            **os.environ,
            "PYTHONIOENCODING": "utf-8",
            "LABELSTREAM_DATABASE_URL": self._store.url,
            "LABELSTREAM_REGISTRY_DIR": self._settings.registry,
            "LABELSTREAM_HOME_DIR": str(self._settings.home),
        }
        # It changes nothing, so it has no need of what allows changes.
        environment.pop("LABELSTREAM_DASHBOARD_TOKEN", None)
        command = [
            *(*self._command, asked.before, asked.after),
            *("--job", str(asked.job), "--sample", str(asked.sample), "--json"),
        ]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self._limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Compared(failure=f"it took longer than {self._limit:.0f} s, and was given up")
        except OSError as error:
            return Compared(failure=f"it could not be started ({error.strerror})")
        if done.returncode:
            said = done.stderr.decode(errors="replace").strip().splitlines()
            last = said[-1] if said else f"it ended with status {done.returncode}"
            return Compared(failure=last.removeprefix("error: "))
        try:
            printed = json.loads(done.stdout.decode())
            return Compared(found={name: printed[name] for name in _SHOWN})
        except (ValueError, KeyError, TypeError) as error:
            return Compared(failure=f"what it printed cannot be read ({type(error).__name__})")


def _purged(job: int) -> str:
    return f"job {job} was purged: its texts are gone"
