"""What a promotion would flip: `training compare` in a process of its own, one at a time."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from threading import Lock, Thread
from typing import Any

from db.settings import Settings
from db.store import Store

#: Seconds after which a comparison is given up.
LIMIT_SECONDS = 600.0

#: Comparisons that are kept; the oldest leaves.
_MOST_KEPT = 50


@dataclass(frozen=True, slots=True)
class Asked:
    """Two versions, as `emotion:1`, on so many rows of a job."""

    before: str
    after: str
    job: int
    sample: int


@dataclass(frozen=True, slots=True)
class Compared:
    """What came of a comparison; both None while it is under way."""

    #: The object that `training compare --json` prints.
    found: Mapping[str, Any] | None = None
    #: The last line that it said instead.
    failure: str | None = None


class Comparisons:
    """Runs them one after the other, beside the pages: each loads two models."""

    def __init__(self, store: Store, settings: Settings, limit: float = LIMIT_SECONDS) -> None:
        self._store = store
        self._settings = settings
        self._limit = limit
        self._lock = Lock()
        self._turn = Lock()
        self._made: dict[Asked, Compared] = {}

    def begin(self, asked: Asked) -> None:
        """Begin a comparison, or begin it again where it failed."""
        with self._lock:
            known = self._made.get(asked)
            if known is not None and known.failure is None:
                return
            self._made[asked] = Compared()
            while len(self._made) > _MOST_KEPT:
                del self._made[next(iter(self._made))]
        Thread(target=self._run, args=(asked,), name="compare", daemon=True).start()

    def of(self, asked: Asked) -> Compared | None:
        """Return what came of it; None if it was never asked for."""
        with self._lock:
            return self._made.get(asked)

    def _run(self, asked: Asked) -> None:
        with self._turn:
            made = self._compared(asked)
        with self._lock:
            self._made[asked] = made

    def _compared(self, asked: Asked) -> Compared:
        # The address travels in the environment: a command line is for everybody to see.
        environment = {
            **os.environ,
            "LABELSTREAM_DATABASE_URL": self._store.url,
            "LABELSTREAM_REGISTRY_DIR": self._settings.registry,
            "LABELSTREAM_HOME_DIR": str(self._settings.home),
        }
        command = [
            *(sys.executable, "-P", "-m", "training.cli", "compare", asked.before, asked.after),
            *("--job", str(asked.job), "--sample", str(asked.sample), "--json"),
        ]
        try:
            done = subprocess.run(
                command,
                env=environment,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=self._limit,
                check=False,
            )
        except subprocess.TimeoutExpired:
            return Compared(failure=f"it took longer than {self._limit:.0f} s, and was given up")
        except OSError as error:
            return Compared(failure=f"it could not be started ({error.strerror})")
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            return Compared(failure=last.removeprefix("error: "))
        return Compared(found=json.loads(done.stdout))
