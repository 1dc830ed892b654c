"""The one thread of a process that computes: it owns the engines, the waiting rows, the swaps."""

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from db.defaults import MAX_LOADED, MICRO_BATCH_LIMIT_SECONDS, MICRO_BATCH_TOKENS
from db.errors import RegistryError
from db.registry.versions import Version
from worker.chunk_logits import ChunkLogits, Submission
from worker.computing import compute
from worker.encoder import EncodedRows
from worker.engine_statistics import Statistics
from worker.engines.protocol import Engine
from worker.loaded_versions import Binding, Loaded, LoadedVersions, VersionKey
from worker.microbatch import WaitingRow
from worker.remembered import LogitsMemory
from worker.repeats import all_of, compute_once, plan, row_keys
from worker.watchdog import Watchdog

__all__ = ["Binding", "ChunkLogits", "EngineThread", "Statistics"]

log = logging.getLogger(__name__)


class EngineThread:
    """Computes logits for many threads at once, a micro-batch at a time.

    `load` makes the engine of a version; it is called in a thread of its own, once a version. A
    micro-batch is one version's alone. `budget` bounds its padded tokens. `limit` is the number
    of seconds after which a process that hangs inside the engine ends itself (None: never).
    `max_loaded` bounds the versions that stay loaded though nothing holds them. The texts of
    `warm_up` are the first micro-batch of each engine, in the thread that loads it; one that
    cannot compute them does not load.

    Of equal rows that wait, one is computed for all; and up to `cache_bytes` (0: none) of logits are
    remembered, by the version as it was loaded and the row's ids. The engines of tests and
    benchmarks (`NEEDS_NO_MODEL`) compute every row.
    """

    def __init__(
        self,
        load: Callable[[Version], Engine],
        *,
        budget: int = MICRO_BATCH_TOKENS,
        limit: float | None = MICRO_BATCH_LIMIT_SECONDS,
        max_loaded: int = MAX_LOADED,
        warm_up: Sequence[str] = (),
        cache_bytes: int = 0,
    ) -> None:
        self._load = load
        self._budget = budget
        self._watchdog = Watchdog(limit)
        self._warm_up = list(warm_up)
        self._changed = threading.Condition()
        self.memory = LogitsMemory(cache_bytes)
        self._versions = LoadedVersions(self._load_warm, self._changed, max_loaded, self.memory)
        #: When the last micro-batch was over.
        self._computed_at = time.monotonic()
        self._submissions: dict[int, Submission] = {}
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        #: Calls of an engine that came back, and micro-batches of which every row was remembered: the
        #: sign of progress that renews leases.
        self.progress = 0
        self.statistics = Statistics()

    def start(self) -> None:
        """Begin to compute what is submitted."""
        self._thread.start()

    def stop(self) -> None:
        """End after the micro-batch under way; what is not done by then is cancelled."""
        with self._changed:
            self._stopping = True
            for submission in self._submissions.values():
                submission.future.cancel()
            self._changed.notify_all()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout=30)

    def leave(self) -> None:
        """Let nobody wait for a load any more: whoever does gets a `CancelledError`."""
        self._versions.leave()

    def bind(self, version: Version, *, pinned: bool = False) -> Binding:
        """Hold `version`, loading it first if need be; waits meanwhile.

        `pinned`: it was asked for by its number. Raises whatever `load` raises; the versions that
        are loaded are not touched by it.
        """
        return self._versions.bind(version, pinned=pinned)

    def bind_loaded(self, version: Version) -> Binding | None:
        """Hold `version` if it is loaded; None, at once, if it is not."""
        return self._versions.bind_loaded(version)

    def load(self, version: Version) -> "Future[Engine]":
        """Begin to load `version` beside what serves; the future ends when it could be bound."""
        return self._versions.load(version)

    def supersede(self, key: VersionKey, by: VersionKey) -> None:
        """Let a version leave as soon as nothing holds it: another one serves in its place."""
        self._versions.supersede(key, by)

    def evict(self) -> None:
        """Let versions leave whose time is over."""
        with self._changed:
            self._versions.evict()

    def submit(self, binding: Binding, rows: EncodedRows) -> "Future[ChunkLogits]":
        """Queue rows of one chunk; the future is done when all of them are."""
        loaded = self._versions.get(binding.key)
        assert loaded is not None, "submitted under a binding that was released"  # noqa: S101
        logits = np.zeros((len(rows), len(binding.version.labels)), dtype=np.float32)
        keys = row_keys(rows) if loaded.shares_rows else []
        planned = plan(keys, loaded.memory, logits) if loaded.shares_rows else all_of(len(rows))
        submission = Submission(binding.key, rows, keys, planned, logits)
        with self._changed:
            if self._stopping:
                submission.future.cancel()
                return submission.future
            if planned.todo:
                self._queue(loaded, submission)
            else:
                self.statistics = self.statistics.done(submission)
        if not planned.todo:
            # No sign of progress: the engine itself may hang meanwhile.
            submission.finish()
        return submission.future

    def _queue(self, loaded: Loaded, submission: Submission) -> None:
        number = next(self._numbers)
        self._submissions[number] = submission
        lengths = submission.rows.lengths.tolist()
        now = time.monotonic()
        loaded.waiting.add(
            [WaitingRow(number, index, lengths[index], now) for index in submission.plan.todo]
        )
        self._changed.notify_all()

    def withdraw(self, future: "Future[ChunkLogits]") -> bool:
        """Take back a submission of which no row has begun; False if one has."""
        with self._changed:
            for number, submission in self._submissions.items():
                if submission.future is future:
                    if submission.begun:
                        return False
                    self._forget(number, submission)
                    future.cancel()
                    return True
        return future.cancelled()

    def guarding(self, seconds: float) -> AbstractContextManager[None]:
        """End the process if the block, native code of the calling thread, takes `seconds`.

        Never where micro-batches have no limit either.
        """
        return self._watchdog.guarding(seconds)

    @property
    def pending_rows(self) -> int:
        """Rows that wait for their turn, of all versions."""
        with self._changed:
            return sum(len(loaded.waiting) for loaded in self._versions.newest_first())

    def loaded(self) -> list[Version]:
        """Return the versions that are loaded now, the newest bound first."""
        with self._changed:
            return [loaded.version for loaded in self._versions.newest_first()]

    def newest_engine(self) -> Engine | None:
        """Return the engine of the version that was bound last; None before the first."""
        with self._changed:
            return next((loaded.engine for loaded in self._versions.newest_first()), None)

    def _forget(self, number: int, submission: Submission) -> None:
        loaded = self._versions.get(submission.key)
        if loaded is not None:
            loaded.waiting.withdraw(number)
        self._submissions.pop(number, None)
        self._versions.evict()

    def _load_warm(self, version: Version) -> Engine:
        """Load an engine and let it compute once, beside the micro-batches of the others.

        What an engine's first call takes (a busy machine makes a second of it) no row waits for.
        """
        engine = self._load(version)
        if self._warm_up:
            rows = engine.encoder.encode(self._warm_up)
            ids = [rows.row(index) for index in range(len(rows))]
            found = compute(engine, ids, len(version.labels), self._watchdog.guarding)
            if found.rejected:
                raise RegistryError(
                    f"model {version} cannot compute: {next(iter(found.rejected.values()))}"
                )
        if self._stopping:
            raise CancelledError
        return engine

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            try:
                self._work(*taken)
            except Exception as error:
                # Not the engine's doing. Whoever waits must hear of it: a thread that died in
                # silence would let them wait for ever.
                log.exception("a micro-batch was lost")
                self._fail({row.submission for row in taken[1]}, error)
            self._computed_at = time.monotonic()
            # While the thread waits, it must not be what keeps an evicted model in memory.
            del taken

    def _next(self) -> tuple[Loaded, list[WaitingRow]] | None:
        with self._changed:
            self._changed.wait_for(
                lambda: self._stopping or self._versions.oldest_waiting() is not None
            )
            if self._stopping:
                return None
            loaded = self._versions.oldest_waiting()
            assert loaded is not None, "something woke the thread"  # noqa: S101
            self._note_idle(loaded.waiting.oldest_at)
            rows = loaded.waiting.take(self._budget)
            for row in rows:
                self._submissions[row.submission].begun = True
            return loaded, rows

    def _note_idle(self, waiting_since: float) -> None:
        idle = time.monotonic() - max(waiting_since, self._computed_at)
        self.statistics = self.statistics.waited(idle)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        try:
            with self._watchdog.guarding():
                yield
        finally:
            self.progress += 1

    def _work(self, loaded: Loaded, rows: Sequence[WaitingRow]) -> None:
        """Compute a micro-batch, and finish the submissions whose last rows it had."""
        started = time.monotonic()
        of = [self._submissions[row.submission] for row in rows]
        ids = [each.rows.row(row.index) for each, row in zip(of, rows, strict=True)]
        keys = None
        if loaded.shares_rows:
            keys = [each.row_keys[row.index] for each, row in zip(of, rows, strict=True)]
        labels = len(loaded.version.labels)
        computed, planned = compute_once(
            loaded.engine, ids, keys, loaded.memory, labels, self._limited
        )
        if not planned.todo:
            self.progress += 1
        for submission, row, values in zip(of, rows, computed.logits, strict=True):
            submission.logits[row.index] = values
        for place, reason in computed.rejected.items():
            of[place].rejected[rows[place].index] = reason
        seconds = time.monotonic() - started
        tokens = sum(row.length for row in rows)
        done = []
        with self._changed:
            lengths = [rows[place].length for place in planned.todo]
            self.statistics = self.statistics.computed(lengths, seconds)
            for place in planned.copies:
                of[place].repeated += 1
            for place in planned.remembered:
                of[place].remembered += 1
            for submission, row in zip(of, rows, strict=True):
                submission.busy_seconds += seconds * row.length / max(tokens, 1)
                submission.remaining -= 1
                if not submission.remaining:
                    done.append(submission)
                    self.statistics = self.statistics.done(submission)
                    self._submissions.pop(row.submission, None)
            self._versions.evict()
        for submission in done:
            submission.finish()

    def _fail(self, numbers: set[int], error: Exception) -> None:
        with self._changed:
            lost = {number: self._submissions.get(number) for number in numbers}
            for number, submission in lost.items():
                if submission is not None:
                    self._forget(number, submission)
        for submission in lost.values():
            if submission is not None and submission.future.set_running_or_notify_cancel():
                submission.future.set_exception(error)
