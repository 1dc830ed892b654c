"""Running a job to its end: feed it, wait for the workers, watch over both."""

import time
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from db.errors import JobFailed, one_line
from db.ledger.ending import end_if_complete, reject_limit
from db.ledger.jobs import JobRecord, Production, get_job
from db.ledger.producing import JobLost, JobWriter
from db.ledger.rates import Flow, flow
from db.ledger.sweeping import Sweeper, SweeperThread
from db.ledger.totals import GrowingTotals, JobTotals, label_mix
from db.ledger.workers import living_workers
from producer.beginning import producer_name
from producer.draining import Drain
from producer.feeding import Feeder, Heartbeat, NewChunk
from producer.rows import SourceError
from producer.screen import Screen
from producer.sending import BrokerWatch, Sender
from producer.services import Services

Result = TypeVar("Result")

#: Seconds between two looks at a job's counts; a look that is slow makes the next ones rarer.
_LOOK_SECONDS = 0.25
_LOOK_SHARE = 0.05

#: Seconds without any worker after which it is said.
_NO_WORKER_SECONDS = 10.0

#: Rows from which on a share of rejects is judged before the end.
_ROWS_TO_JUDGE_A_SHARE = 1000


class JobRun:
    """One producer's work on one job, under its token."""

    def __init__(
        self,
        services: Services,
        job: JobRecord,
        production: Production,
        screen: Screen,
        *,
        max_queued: int,
    ) -> None:
        self._services = services
        self._store = services.store
        self._job = job
        self._screen = screen
        self._max_queued = max_queued
        self._max_rejects = job.options.get("max_rejects")
        self._writer = JobWriter(services.store, production, job.queue, on_trouble=screen.warn)
        self._broker = BrokerWatch(
            services.outbox.check,
            services.broker,
            patience=services.patience,
            tell=screen.warn,
        )
        self._totals = GrowingTotals(services.store, job.id)
        self._next_look = 0.0
        self._alone_since: float | None = None
        self._said_alone = False
        self._drain: Drain | None = None
        self._said_drained = False
        #: Share of the source that is read, as the reader tells it: bytes and all bytes.
        self.progress: Callable[[], tuple[int, int | None]] = lambda: (0, None)

    def run(
        self, chunks: Iterable[NewChunk | None], *, wait: bool, drain: Drain | None = None
    ) -> None:
        """Enter `chunks`, mark the source exhausted, and with `wait` stay until the job ends.

        A source that breaks off ends the job after what could be read of it. One that was told to
        `drain` has more to come: such a job stays open for the next producer if it `continues`.
        When this is left by an exception, the job stays as it is and the next call goes on with it
        at once. Raises `JobFailed` for too many rejects, and `JobLost` when the job was cancelled
        meanwhile.
        """
        self._drain = drain
        sweeper = SweeperThread(
            Sweeper(self._store, self._services.outbox, holder=producer_name()), tells=False
        )
        sweeper.start()
        try:
            with Heartbeat(self._writer) as heartbeat, self._broker:
                self._feed(chunks, heartbeat)
                state = self._patiently(lambda: end_if_complete(self._store, self._job.id))
                pause = _LOOK_SECONDS / 5
                while wait and state == "running" and not self._is_drained():
                    self._tick()
                    time.sleep(pause)
                    # Who has waited for long waits a little longer: looking takes what a slow engine
                    # on the same machine could use.
                    pause = min(pause * 1.05, _LOOK_SECONDS)
                    state = self._patiently(lambda: get_job(self._store, self._job.id).state)
        except KeyboardInterrupt:
            self._screen.warn(self._interrupted())
            raise
        finally:
            sweeper.stop()
            self._writer.release()

    def _feed(self, chunks: Iterable[NewChunk | None], heartbeat: Heartbeat) -> None:
        if self._job.source_exhausted:
            return
        feeder = Feeder(
            self._writer,
            Sender(self._writer, self._services.outbox, self._job.queue, self._broker),
            self._max_queued,
            on_tick=self._tick,
            hurries=lambda: self._drains,
        )
        try:
            feeder.feed(chunks, heartbeat)
        except SourceError as error:
            self._screen.warn(one_line(error))
            self._writer.exhaust(one_line(error))
            return
        if not self._drains or not self._job.continues:
            self._writer.exhaust()

    @property
    def _drains(self) -> bool:
        return self._drain is not None and self._drain.is_set()

    def _is_drained(self) -> bool:
        """Whether all that was read of a source which has more to come is labelled."""
        return self._drains and self._job.continues and self._writer.open_chunks() == 0

    def _interrupted(self) -> str:
        job = self._job
        if job.continues:
            return (
                f"job {job.id} is interrupted and loses nothing; the same command goes on with it, "
                f"as does producer resume {job.id}, and this ends it: producer cancel {job.id}"
            )
        return (
            f"job {job.id} is left; its rows in the database are labelled by the workers, "
            f"and this ends it: producer cancel {job.id}"
        )

    def _tick(self) -> None:
        """Show the counts and judge the rejects, as often as looking is cheap."""
        if self._drains and not self._said_drained:
            self._said_drained = True
            self._screen.say(
                f"job {self._job.id}: no more is read; what was read ends in order "
                "(once more Ctrl-C or TERM: leave at once)"
            )
        now = time.monotonic()
        if now < self._next_look:
            return
        totals = self._patiently(self._totals.now)
        mix: Mapping[str, int] = {}
        # That of a stream costs more with each row that it ever had.
        if self._screen.shows_progress and self._job.stream is None:
            mix = self._patiently(lambda: label_mix(self._store, self._job.id))
        flows: Flow | None = None
        if self._job.stream is not None:
            flows = self._patiently(lambda: flow(self._store, self._job.id))
        took = time.monotonic() - now
        self._next_look = now + max(_LOOK_SECONDS, took / _LOOK_SHARE)
        if flows is None:
            self._screen.update(totals, mix, self.progress())
        else:
            self._screen.update_stream(totals, flows)
        self._judge_rejects(totals)
        self._broker.judge(totals.labeled + totals.rejected)
        self._look_for_workers(now)

    def _judge_rejects(self, totals: JobTotals) -> None:
        limit = reject_limit(self._max_rejects, totals.rows)
        if limit is None or totals.rejected <= limit:
            return
        if str(self._max_rejects).endswith("%") and totals.rows < _ROWS_TO_JUDGE_A_SHARE:
            return
        reason = (
            f"{totals.rejected} of {totals.rows} rows were rejected, "
            f"more than --max-rejects {self._max_rejects}"
        )
        try:
            self._writer.fail(reason)
        except JobLost:
            return
        raise JobFailed(
            f"job {self._job.id} failed: {reason}; see: producer rejects {self._job.id}"
        )

    def _look_for_workers(self, now: float) -> None:
        if self._said_alone:
            return
        if self._patiently(lambda: living_workers(self._store, self._job.queue)):
            self._alone_since = None
            return
        if self._alone_since is None:
            self._alone_since = now
        elif now - self._alone_since > _NO_WORKER_SECONDS:
            self._said_alone = True
            if self._services.worker_log is not None:
                # Its keeper sees to it; on a busy machine a model takes a while to load.
                self._screen.warn(
                    "the worker has ended and is started again by itself; "
                    f"its log: {self._services.worker_log}"
                )
                return
            option = "" if self._job.queue == "labelstream" else f" -Q {self._job.queue}"
            self._screen.warn(
                f"no worker serves the queue {self._job.queue}; "
                f"start one: celery -A worker worker{option}"
            )

    def _patiently(self, transaction: Callable[[], Result]) -> Result:
        return self._store.retrying(transaction, on_trouble=self._screen.warn)
