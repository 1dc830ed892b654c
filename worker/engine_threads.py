"""The threads of a process that compute: they own the engines, the waiting rows, the swaps."""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError, Future
from contextlib import AbstractContextManager, contextmanager

import numpy as np

from db.defaults import MAX_LOADED, MICRO_BATCH_LIMIT_SECONDS
from db.errors import RegistryError
from db.registry.versions import Version
from worker.chunk_logits import ChunkLogits, Submission
from worker.encoder import EncodedRows
from worker.engine_statistics import Statistics
from worker.engines.protocol import Engine
from worker.loaded_versions import Binding, Loaded, LoadedVersions, VersionKey
from worker.metrics import QUEUE_WAIT_SECONDS, count_micro_batch
from worker.remembered import LogitsMemory
from worker.repeats import all_of, compute_once, plan, row_keys
from worker.shared_clock import SharedClock
from worker.submitted import MicroBatch, Submitted
from worker.warming import warm
from worker.watchdog import Watchdog

__all__ = ["Binding", "ChunkLogits", "EngineThreads", "Statistics"]

log = logging.getLogger(__name__)

#: Padded tokens below which rows are not shared out among threads: they are soon computed by one.
_LEAST_TOKENS = 256

#: Seconds for which micro-batches under way are waited for at a stop.
_STOP_SECONDS = 30.0


class EngineThreads:
    """Computes logits for many threads at once, a micro-batch at a time.

    `load` makes the engine of a version; it is called in a thread of its own, once a version. A
    micro-batch is one version's alone. `budget` bounds its padded tokens (None: as the engine does).
    As many are under way as the engine computes `at_once`, each in a thread of its own. `limit` is
    the number of seconds after which a process that hangs inside the engine ends itself (None: never).
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
        budget: int | None = None,
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
        self._submitted = Submitted()
        self._stopping = False
        #: The engines of the micro-batches that are computed now, and the seconds of each.
        self._under_way: list[Engine] = []
        self._clock = SharedClock()
        self._started = False
        self._threads: list[threading.Thread] = []
        #: Threads that wait for a micro-batch.
        self._resting = 0
        #: Calls of an engine that came back, and micro-batches of which every row was remembered: the
        #: sign of progress that renews leases.
        self.progress = 0
        self.statistics = Statistics()

    def start(self) -> None:
        """Begin to compute what is submitted."""
        with self._changed:
            self._started = True
            self._begin_thread()

    def stop(self) -> None:
        """End after the micro-batches under way; what is not done by then is cancelled."""
        with self._changed:
            self._stopping = True
            for submission in self._submitted:
                submission.future.cancel()
            self._changed.notify_all()
        until = time.monotonic() + _STOP_SECONDS
        for thread in self._threads:
            if thread is not threading.current_thread():
                thread.join(max(until - time.monotonic(), 0))

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
        with self._changed:
            first = self._submitted.take_places(len(rows))
            submission = Submission(binding.key, first, rows, keys, planned, logits)
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
        self._submitted.add(submission)
        todo = np.asarray(submission.plan.todo)
        lengths = submission.rows.lengths[todo]
        loaded.waiting.add(submission.first + todo, lengths, time.monotonic())
        self._wake()

    def withdraw(self, future: "Future[ChunkLogits]") -> bool:
        """Take back a submission of which no row has begun; False if one has."""
        with self._changed:
            submission = self._submitted.of(future)
            if submission is None:
                return future.cancelled()
            if submission.begun:
                return False
            self._forget(submission)
            future.cancel()
            return True

    @property
    def is_alive(self) -> bool:
        """Whether it computes: its threads have begun, and none has ended."""
        with self._changed:
            return self._started and all(thread.is_alive() for thread in self._threads)

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

    def engines(self) -> list[tuple[Version, Engine]]:
        """Return the versions that are loaded now, and what computes each."""
        with self._changed:
            return [(each.version, each.engine) for each in self._versions.newest_first()]

    def newest_engine(self) -> Engine | None:
        """Return the engine of the version that was bound last; None before the first."""
        with self._changed:
            return next((loaded.engine for loaded in self._versions.newest_first()), None)

    def _forget(self, submission: Submission) -> None:
        loaded = self._versions.get(submission.key)
        if loaded is not None:
            loaded.waiting.withdraw(*submission.places)
        self._submitted.remove(submission)
        self._versions.evict()
        # What waited behind it may be the next by now.
        self._wake()

    def _load_warm(self, version: Version) -> Engine:
        """Load an engine and let it compute once, beside the micro-batches of the others.

        What an engine's first call takes (a busy machine makes a second of it) no row waits for.
        """
        engine = self._load(version)
        if self._warm_up:
            around = self._watchdog.guarding
            reason = warm(engine, len(version.labels), self._warm_up, around)
            if reason is not None:
                raise RegistryError(f"model {version} cannot compute: {reason}")
        if self._stopping:
            raise CancelledError
        return engine

    def _begin_thread(self) -> None:
        name = f"engine-{len(self._threads)}"
        thread = threading.Thread(target=self._run, name=name, daemon=True)
        thread.start()
        self._threads.append(thread)

    def _runnable(self) -> Loaded | None:
        """Return the version of the next micro-batch; None if it has to wait, or there is none.

        The oldest row's version is the next, whatever the others could compute meanwhile: its rows
        would never have their turn beside one that computes more at once.
        """
        loaded = self._versions.oldest_waiting()
        if loaded is None:
            return None
        # Each engine may want all processors for as many as it computes at once.
        most = min([loaded.engine.at_once, *(each.at_once for each in self._under_way)])
        return loaded if len(self._under_way) < most else None

    def _wake(self) -> None:
        """Let one more thread look for work, if there is any; it does so for the next one."""
        if not self._started or self._stopping or self._runnable() is None:
            return
        if self._resting:
            self._changed.notify()
        elif len(self._threads) <= len(self._under_way):
            try:
                self._begin_thread()
            except RuntimeError:
                # The system gives no more: those that there are go on.
                log.warning("no further thread can be had to compute with")

    def _run(self) -> None:
        while (taken := self._next()) is not None:
            failure: BaseException | None = None
            try:
                self._work(taken)
            except BaseException as error:
                # Not the engine's doing. Whoever waits must hear of it: a thread that died in
                # silence would let them wait for ever.
                log.exception("a micro-batch was lost")
                failure = error
            self._end(taken, failure)
            # While the thread waits, it must not be what keeps an evicted model in memory.
            del taken

    def _next(self) -> MicroBatch | None:
        with self._changed:
            while not self._stopping and (loaded := self._runnable()) is None:
                self._resting += 1
                self._changed.wait()
                self._resting -= 1
            if self._stopping or loaded is None:
                return None
            waiting_since = loaded.waiting.oldest_at
            self._note_idle(waiting_since)
            QUEUE_WAIT_SECONDS.observe(time.monotonic() - waiting_since)
            parts = self._submitted.parts(loaded.waiting.take(self._budget_for(loaded)))
            for part in parts:
                part.submission.begun = True
                part.submission.under_way += 1
            self._under_way.append(loaded.engine)
            taken = MicroBatch(loaded, parts, self._clock.begin())
            self._wake()
            return taken

    def _budget_for(self, loaded: Loaded) -> int:
        """Return the padded tokens of the next micro-batch: of few rows, each free thread gets some."""
        budget = self._budget or loaded.engine.micro_batch_tokens
        free = loaded.engine.at_once - len(self._under_way)
        share = max(-(-loaded.waiting.tokens // free), _LEAST_TOKENS)
        return min(budget, share) if free > 1 else budget

    def _end(self, taken: MicroBatch, failure: BaseException | None) -> None:
        """Let a micro-batch end, and tell those whose last rows it had, or who lost rows with it."""
        with self._changed:
            self._clock.end()
            self._computed_at = time.monotonic()
            self._under_way.remove(taken.loaded.engine)
            over = []
            for submission in (part.submission for part in taken.parts):
                submission.under_way -= 1
                if failure is not None and submission.failure is None:
                    submission.failure = failure
                    self._forget(submission)
                if submission.to_be_told():
                    over.append(submission)
                    self._submitted.remove(submission)
                    if submission.failure is None:
                        self.statistics = self.statistics.done(submission)
            self._versions.evict()
        for submission in over:
            submission.finish()

    def _note_idle(self, waiting_since: float) -> None:
        if not self._under_way:
            idle = time.monotonic() - max(waiting_since, self._computed_at)
            self.statistics = self.statistics.waited(idle)

    @contextmanager
    def _limited(self) -> Iterator[None]:
        try:
            with self._watchdog.guarding():
                yield
        finally:
            self._note_progress()

    def _note_progress(self) -> None:
        with self._changed:
            self.progress += 1

    def _work(self, taken: MicroBatch) -> None:
        """Compute a micro-batch, and give its submissions what came of their rows."""
        started = time.monotonic()
        loaded, rows = taken.loaded, taken.rows
        labels = len(loaded.version.labels)
        computed, planned = compute_once(
            loaded.engine, rows, taken.keys, loaded.memory, labels, self._limited
        )
        if not planned.todo:
            self._note_progress()
        lengths = rows.lengths
        count_micro_batch(lengths[planned.todo], time.monotonic() - started)
        with self._changed:
            seconds = self._clock.since(taken.begun)
            share = seconds / max(int(lengths.sum()), 1)
            self.statistics = self.statistics.computed(lengths[planned.todo], seconds)
            start = 0
            for part in taken.parts:
                stop = start + len(part.indices)
                submission = part.submission
                submission.take(part.indices, computed, planned, start, stop)
                submission.busy_seconds += share * int(lengths[start:stop].sum())
                start = stop
