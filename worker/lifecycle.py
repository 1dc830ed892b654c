"""The life of a worker process: begin before the first task, drain at TERM, end."""

import logging
import os
import secrets
import sys
import threading
import time
from typing import Any

from celery import Celery
from celery.signals import worker_ready, worker_shutdown, worker_shutting_down

from db.defaults import RENEW_SECONDS
from db.errors import LabelstreamError, ServiceUnavailable, UsageError, one_line
from db.ledger.jobs import ledger_id
from db.ledger.sweeping import Sweeper, SweeperThread
from db.ledger.workers import WorkerRecord, forget_worker, record_worker
from db.processes import own_name
from db.settings import Settings, check_addresses, get_settings
from db.store import Store, open_store
from worker.choosing import VersionChooser, VersionWatcher
from worker.embedded.readiness import tell_ready
from worker.engine_threads import EngineThreads
from worker.gauges import WorkerGauges, with_gauges
from worker.health import Checks
from worker.keeper import LeaseKeeper
from worker.labeling import ChunkLabeler
from worker.leaving import Departure
from worker.logs import set_up_logging
from worker.observing import ObservingServer
from worker.outbox import CeleryOutbox
from worker.preparing import make_ready
from worker.refusals import Refusals
from worker.serving import Loader
from worker.submissions import Submissions
from worker.task_jobs import TaskJobs
from worker.warming import WARM_UP_TEXTS

log = logging.getLogger(__name__)


class Runtime:
    """What one worker process is made of; everything in it is made once, before the first task."""

    def __init__(
        self, settings: Settings, store: Store, app: Celery, name: str, queues: list[str]
    ) -> None:
        self._store = store
        self._name = name
        self._queues = queues
        ledger = ledger_id(store)
        loader = Loader(store, settings)
        self.engine = EngineThreads(
            loader.load,
            limit=settings.micro_batch_limit,
            max_loaded=settings.max_loaded,
            warm_up=WARM_UP_TEXTS,
            cache_bytes=settings.cache_mb * 2**20,
        )
        refusals = Refusals(store, name)
        self._chooser = VersionChooser(store, self.engine, refusals)
        self._watcher = VersionWatcher(self._chooser)
        self._keeper = LeaseKeeper(store, lambda: self.engine.progress)
        self.labeler = ChunkLabeler(store, ledger, self.engine, self._chooser, self._keeper, name)
        self.submissions = Submissions(
            store, ledger, TaskJobs(store, name, own_name()), queues, settings.model
        )
        self._outbox = CeleryOutbox(app, ledger)
        self._sweeper = SweeperThread(Sweeper(store, self._outbox, own_name()))
        self._departure = Departure(lambda: self._keeper.held)
        self._leaving = threading.Event()
        #: Whether it takes messages, and whether it will take no more.
        self._shown = self._departing = False
        self._presence = threading.Thread(target=self._show_presence, name="presence", daemon=True)
        self._server: ObservingServer | None = None
        if settings.metrics_port is not None:
            gauges = WorkerGauges(store, self.engine, refusals, settings.home)
            self._server = ObservingServer(
                settings.metrics_host,
                settings.metrics_port,
                with_gauges(gauges),
                live=Checks({"engine": self._is_alive}),
                ready=Checks(
                    {
                        "model": self._has_model,
                        "database": lambda: store.check(seconds=0),
                        "broker": self._outbox.check,
                    }
                ),
            )

    def start(self, model: str) -> None:
        """Load `model` and begin the threads."""
        if self._server is not None:
            self._server.start()
        # What the worker before this one held when it died need not wait for the model to load.
        self._sweeper.sweep_ahead()
        self._departure.start()
        self.engine.start()
        self._chooser.begin(model)
        self._keeper.start()
        self._watcher.start()
        self.submissions.start()

    def show(self) -> None:
        """Tell the ledger, then the supervisor, that this worker is ready; begin to sweep."""
        self._shown = True
        # Before the first message is taken: the ledger knows which process it is that may hold it.
        self._tell_presence()
        self._presence.start()
        self._sweeper.start()
        tell_ready()

    def drain(self) -> None:
        """Begin nothing more, and be gone in time."""
        self._departing = True
        self._departure.begin()
        self.labeler.drain()
        self.submissions.drain()

    def stop(self) -> None:
        """End the threads; the chunks are closed or handed back by now."""
        self._leaving.set()
        self.submissions.stop()
        self._sweeper.stop()
        self._watcher.stop()
        self._keeper.stop()
        self.engine.stop()
        if self._server is not None:
            self._server.stop()
        done = self.engine.statistics
        log.info(
            "computed: rows=%s micro_batches=%s busy_s=%.1f longest_idle_ms=%.1f "
            "repeated=%s remembered=%s hit_rate=%.3f cache_mib=%.2f",
            done.rows,
            done.micro_batches,
            done.busy_seconds,
            done.longest_idle_seconds * 1000,
            done.repeated,
            done.remembered,
            done.hit_rate,
            self.engine.memory.bytes_held / 2**20,
        )
        try:
            forget_worker(self._store, self._name)
        except Exception as error:  # noqa: BLE001  (leaving must not fail on a database that is gone)
            log.debug("could not sign off: %s", type(error).__name__)
        self._store.close()

    def _is_alive(self) -> None:
        # Until the model is loaded nothing computes: whoever waits for that asks whether it is ready.
        if self._shown and not self.engine.is_alive:
            raise ServiceUnavailable("a thread that computes has ended")

    def _has_model(self) -> None:
        if self._departing:
            raise ServiceUnavailable("this worker leaves")
        if not self._shown:
            raise ServiceUnavailable("the model is not loaded yet")

    def _show_presence(self) -> None:
        while not self._leaving.wait(RENEW_SECONDS):
            self._tell_presence()

    def _tell_presence(self) -> None:
        engine = self.engine.newest_engine()
        record = WorkerRecord(
            self._name,
            [str(version) for version in self.engine.loaded()],
            engine.name if engine else "",
            engine.device if engine else "",
            self._queues,
            own_name(),
        )
        try:
            record_worker(self._store, record)
        except Exception as error:  # noqa: BLE001  (the next sign of life is seconds away)
            log.debug("could not show presence: %s", type(error).__name__)


_runtime: Runtime | None = None


def current_runtime() -> Runtime:
    """Return what `begin` made; every task runs after it."""
    assert _runtime is not None, "the worker has not begun"  # noqa: S101
    return _runtime


def begin(sender: Any) -> None:
    """Make everything ready before Celery takes the first message.

    Ends the process with one line and status 2 if the worker cannot serve.
    """
    global _runtime
    settings = get_settings()
    # Celery sets the logging up only later, and loading the model is worth a line.
    set_up_logging(settings)
    try:
        _runtime = _make_runtime(settings, sender)
        _runtime.start(settings.model)
    except LabelstreamError as error:
        print(f"error: {one_line(error)}", file=sys.stderr)  # noqa: T201
        # Celery's own signal handling would go on after an exception.
        sys.exit(error.exit_status)


def _make_runtime(settings: Settings, sender: Any) -> Runtime:
    app = sender.app
    if app.conf.broker_url is None:
        raise UsageError(
            "no broker: set LABELSTREAM_BROKER_URL, or run `producer ingest FILE` beside this "
            "worker, whose embedded broker it would join"
        )
    check_addresses(settings)
    store = open_store(settings)
    make_ready(store, settings)
    # Two containers may have a host name and a pid in common; chunks name their worker by this.
    name = f"{sender.hostname}/{secrets.token_hex(3)}/{os.getpid()}"
    queues = sorted(app.amqp.queues.consume_from) or [app.conf.task_default_queue]
    return Runtime(settings, store, app, name, queues)


@worker_ready.connect
def _ready(**_: Any) -> None:
    current_runtime().show()


@worker_shutting_down.connect
def _drain(**_: Any) -> None:
    if _runtime is not None:
        _runtime.drain()


@worker_shutdown.connect
def _end(**_: Any) -> None:
    started = time.monotonic()
    if _runtime is not None:
        _runtime.stop()
    log.info("left in %.1f s", time.monotonic() - started)
