"""The one thread of a process that computes: it owns the engines, the waiting rows, the swaps."""

import faulthandler
import itertools
import logging
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType

import numpy as np
import numpy.typing as npt

from db.defaults import MICRO_BATCH_LIMIT_SECONDS, MICRO_BATCH_TOKENS
from db.registry.versions import Version
from worker.encoder import EncodedRows
from worker.engines.protocol import Engine, EngineOutOfMemory
from worker.microbatch import WaitingRow, WaitingRows

log = logging.getLogger(__name__)

#: Name of a version among the loaded ones.
VersionKey = tuple[str, int]


@dataclass(frozen=True)
class ChunkLogits:
    """What the engine made of one submission."""

    #: float32 [rows, labels]; the rows of `rejected` mean nothing.
    logits: npt.NDArray[np.float32]
    #: Why a row has no logits, by its index.
    rejected: Mapping[int, str]
    tokens: int
    #: Seconds of computing, shared among submissions by their tokens.
    busy_seconds: float


@dataclass
class _Submission:
    key: VersionKey
    rows: EncodedRows
    labels: int
    remaining: int
    logits: npt.NDArray[np.float32]
    rejected: dict[int, str] = field(default_factory=dict)
    busy_seconds: float = 0.0
    begun: bool = False
    future: "Future[ChunkLogits]" = field(default_factory=Future)


@dataclass
class _Loaded:
    version: Version
    engine: Engine
    bound: int = 0
    waiting: WaitingRows = field(default_factory=WaitingRows)


class Binding:
    """A hold on a loaded version: while it lasts, the version is not evicted.

    Used as a context manager; everything submitted under it runs on this version and engine.
    """

    def __init__(self, owner: "EngineThread", key: VersionKey, loaded: _Loaded) -> None:
        self._owner = owner
        self._key = key
        self._encoder = loaded.engine.encoder
        self.version = loaded.version
        self.engine_name = loaded.engine.name

    @property
    def key(self) -> VersionKey:
        """Which loaded version this holds."""
        return self._key

    def encode(self, texts: list[str]) -> EncodedRows:
        """Tokenise `texts` for this version, in the calling thread."""
        return self._encoder.encode(texts)

    def __enter__(self) -> "Binding":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._owner.release(self)


class EngineThread:
    """Computes logits for many threads at once, a micro-batch at a time.

    `load` makes the engine of a version; it is called in a thread of its own, once a version. A
    micro-batch is one version's alone. `budget` bounds its padded tokens. `limit` is the number
    of seconds after which a process that hangs inside a micro-batch ends itself (None: never).
    """

    def __init__(
        self,
        load: Callable[[Version], Engine],
        *,
        budget: int = MICRO_BATCH_TOKENS,
        limit: float | None = MICRO_BATCH_LIMIT_SECONDS,
    ) -> None:
        self._load = load
        self._budget = budget
        self._limit = limit
        self._changed = threading.Condition()
        self._loaded: dict[VersionKey, _Loaded] = {}
        self._loading: dict[VersionKey, Future[Engine]] = {}
        self._newest: VersionKey | None = None
        self._submissions: dict[int, _Submission] = {}
        self._numbers = itertools.count()
        self._stopping = False
        self._thread = threading.Thread(target=self._run, name="engine", daemon=True)
        #: Micro-batches finished since the start: the sign of progress that renews leases.
        self.progress = 0

    def start(self) -> None:
        """Begin to compute what is submitted."""
        self._thread.start()

    def stop(self) -> None:
        """End after the micro-batch under way; what still waits is cancelled."""
        with self._changed:
            self._stopping = True
            for submission in self._submissions.values():
                submission.future.cancel()
            self._changed.notify_all()
        if self._thread.is_alive():
            self._thread.join(timeout=30)

    def bind(self, version: Version) -> Binding:
        """Hold `version`, loading it first if need be; waits meanwhile.

        Raises whatever `load` raises; the versions that are loaded are not touched by it.
        """
        key = (version.model, version.version)
        with self._changed:
            loaded = self._loaded.get(key)
            if loaded is not None:
                return self._bound(key, loaded)
            future = self._loading.get(key)
            if future is None:
                future = self._loading[key] = Future()
                threading.Thread(
                    target=self._load_into, args=(version, future), name=f"load {version}"
                ).start()
        engine = future.result()
        with self._changed:
            self._loading.pop(key, None)
            loaded = self._loaded.setdefault(key, _Loaded(version, engine))
            return self._bound(key, loaded)

    def release(self, binding: Binding) -> None:
        """Let a binding go; an old version that nothing holds any more leaves the memory."""
        with self._changed:
            self._loaded[binding.key].bound -= 1
            self._evict()

    def submit(self, binding: Binding, rows: EncodedRows) -> "Future[ChunkLogits]":
        """Queue rows of one chunk; the future is done when all of them are."""
        submission = _Submission(
            binding.key,
            rows,
            len(binding.version.labels),
            len(rows),
            np.zeros((len(rows), len(binding.version.labels)), dtype=np.float32),
        )
        if not len(rows):
            submission.future.set_result(ChunkLogits(submission.logits, {}, 0, 0.0))
            return submission.future
        now = time.monotonic()
        with self._changed:
            if self._stopping:
                submission.future.cancel()
                return submission.future
            number = next(self._numbers)
            self._submissions[number] = submission
            self._loaded[binding.key].waiting.add(
                [
                    WaitingRow(number, index, int(length), now)
                    for index, length in enumerate(rows.lengths)
                ]
            )
            self._changed.notify_all()
        return submission.future

    def withdraw(self, future: "Future[ChunkLogits]") -> bool:
        """Take back a submission of which no row has begun; False if one has."""
        with self._changed:
            for number, submission in self._submissions.items():
                if submission.future is future:
                    if submission.begun:
                        return False
                    self._loaded[submission.key].waiting.withdraw(number)
                    del self._submissions[number]
                    future.cancel()
                    return True
        return future.cancelled()

    def loaded(self) -> list[Version]:
        """Return the versions that are loaded now, the newest bound first."""
        with self._changed:
            order = sorted(self._loaded, key=lambda key: key != self._newest)
            return [self._loaded[key].version for key in order]

    def newest_engine(self) -> Engine | None:
        """Return the engine of the version that was bound last; None before the first."""
        with self._changed:
            return self._loaded[self._newest].engine if self._newest in self._loaded else None

    def _load_into(self, version: Version, future: "Future[Engine]") -> None:
        try:
            future.set_result(self._load(version))
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            with self._changed:
                self._loading.pop((version.model, version.version), None)
            future.set_exception(error)

    def _bound(self, key: VersionKey, loaded: _Loaded) -> Binding:
        loaded.bound += 1
        self._newest = key
        self._evict()
        return Binding(self, key, loaded)

    def _evict(self) -> None:
        idle = [
            key
            for key, loaded in self._loaded.items()
            if not loaded.bound and not len(loaded.waiting) and key != self._newest
        ]
        for key in idle:
            log.info("model %s leaves the memory", self._loaded[key].version)
            del self._loaded[key]

    def _run(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._stopping or self._oldest() is not None)
                if self._stopping:
                    return
                key = self._oldest()
                assert key is not None  # noqa: S101
                loaded = self._loaded[key]
                rows = loaded.waiting.take(self._budget)
                for row in rows:
                    self._submissions[row.submission].begun = True
            started = time.monotonic()
            with self._limited():
                self._compute(loaded.engine, rows)
            self._account(rows, time.monotonic() - started)

    def _oldest(self) -> VersionKey | None:
        waiting = {key: each.waiting for key, each in self._loaded.items() if len(each.waiting)}
        return min(waiting, key=lambda key: waiting[key].oldest_at) if waiting else None

    @contextmanager
    def _limited(self) -> Iterator[None]:
        # A watchdog thread of Python's own could not run while native code holds the interpreter.
        if self._limit is None:
            yield
            return
        faulthandler.dump_traceback_later(self._limit, exit=True, file=sys.__stderr__)
        try:
            yield
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _compute(self, engine: Engine, rows: Sequence[WaitingRow], tries: int = 1) -> None:
        """Run a micro-batch; one that fails is halved until the guilty row stands alone."""
        try:
            logits = engine.logits(*self._padded(engine, rows))
        except Exception as error:  # noqa: BLE001  (an engine may raise anything for a bad row)
            if len(rows) > 1:
                if not isinstance(error, EngineOutOfMemory):
                    log.warning("a micro-batch failed (%s); halving it", type(error).__name__)
                half = len(rows) // 2
                self._compute(engine, rows[:half])
                self._compute(engine, rows[half:])
            elif tries < 2:
                self._compute(engine, rows, tries + 1)
            else:
                row = rows[0]
                reason = f"engine error: {type(error).__name__}"
                self._submissions[row.submission].rejected[row.index] = reason
            return
        finite = np.isfinite(logits).all(axis=1).tolist()
        for row, values, good in zip(rows, logits, finite, strict=True):
            submission = self._submissions[row.submission]
            submission.logits[row.index] = values
            if not good:
                submission.rejected[row.index] = "non-finite logits"

    def _padded(
        self, engine: Engine, rows: Sequence[WaitingRow]
    ) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
        longest = max(max(row.length for row in rows), 1)
        ids = np.full((len(rows), longest), engine.padding_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for place, row in enumerate(rows):
            ids[place, : row.length] = self._submissions[row.submission].rows.row(row.index)
            mask[place, : row.length] = 1
        return ids, mask

    def _account(self, rows: Sequence[WaitingRow], seconds: float) -> None:
        """Count a finished micro-batch, and finish the submissions whose last rows it had."""
        tokens = sum(row.length for row in rows) or 1
        done = []
        with self._changed:
            self.progress += 1
            for row in rows:
                submission = self._submissions[row.submission]
                submission.busy_seconds += seconds * row.length / tokens
                submission.remaining -= 1
                if not submission.remaining:
                    done.append(self._submissions.pop(row.submission))
        for submission in done:
            if submission.future.set_running_or_notify_cancel():
                submission.future.set_result(
                    ChunkLogits(
                        submission.logits,
                        submission.rejected,
                        len(submission.rows.ids),
                        submission.busy_seconds,
                    )
                )
