"""What is true of this worker and of its ledger at the moment at which Prometheus asks."""

import logging
import shutil
import threading
from collections.abc import Iterable
from concurrent.futures import Future
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from db.ledger.backlog import backlog
from db.ledger.workers import living_workers
from db.store import Store
from worker.engine_threads import EngineThreads
from worker.metrics import REGISTRY
from worker.refusals import Refusals

log = logging.getLogger(__name__)

#: Seconds for which a scrape waits for the ledger; Prometheus itself waits for ten.
_LEDGER_SECONDS = 3.0


def with_gauges(gauges: Collector) -> CollectorRegistry:
    """Return everything that one worker tells: what this process has counted, and its gauges."""
    registry = CollectorRegistry()
    registry.register(REGISTRY)
    registry.register(gauges)
    return registry


class WorkerGauges(Collector):
    """Asks the engine, the ledger and the disk under `folder` at each scrape."""

    def __init__(
        self, store: Store, engine: EngineThreads, refusals: Refusals, folder: Path
    ) -> None:
        self._store = store
        self._engine = engine
        self._refusals = refusals
        self._folder = folder
        self._lock = threading.Lock()
        self._asking: Future[list[Metric]] | None = None

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering it asks nothing of a database that may be away."""
        return []

    def collect(self) -> Iterable[Metric]:
        """Yield every gauge; those of the ledger only while the database answers soon."""
        yield from self._of_this_process()
        try:
            found = self._asked().result(timeout=_LEDGER_SECONDS)
        except Exception as error:  # noqa: BLE001  (drivers and pools raise many)
            log.debug("the ledger tells no metrics: %s", type(error).__name__)
            found = []
        yield from found
        yield _gauge("labelstream_database_up", "Whether the database answers.", bool(found))

    def _asked(self) -> "Future[list[Metric]]":
        """Return what the ledger tells, asked for in a thread of its own.

        A database that is frozen keeps its connection for longer than Prometheus waits; it is not
        asked again meanwhile.
        """
        with self._lock:
            if self._asking is None or self._asking.done():
                self._asking = Future()
                threading.Thread(
                    target=self._ask, args=(self._asking,), name="ledger-gauges", daemon=True
                ).start()
            return self._asking

    def _ask(self, asking: "Future[list[Metric]]") -> None:
        try:
            asking.set_result(list(self._of_the_ledger()))
        except Exception as error:  # noqa: BLE001  (told by whoever waits)
            asking.set_exception(error)

    def _of_this_process(self) -> Iterable[Metric]:
        versions = InfoMetricFamily(
            "labelstream_version", "The versions that are loaded now, and what computes them."
        )
        for version, engine in self._engine.engines():
            versions.add_metric(
                [],
                {
                    "model": version.model,
                    "model_version": str(version.version),
                    "engine": engine.name,
                    "device": engine.device,
                },
            )
        yield versions
        yield _gauge(
            "labelstream_waiting_rows",
            "Rows that wait in this process for their micro-batch.",
            self._engine.pending_rows,
        )
        yield _gauge(
            "labelstream_remembered_bytes",
            "Bytes of logits that this process remembers.",
            self._engine.memory.bytes_held,
        )
        yield _gauge(
            "labelstream_refused_versions",
            "Versions that this process could not load, and is to serve.",
            self._refusals.count,
        )
        # Who has database and registry elsewhere need not have the folder.
        folder = next(each for each in (self._folder, *self._folder.parents) if each.exists())
        disk = shutil.disk_usage(folder)
        yield _gauge(
            "labelstream_disk_free_bytes", "Free bytes of the disk of HOME_DIR.", disk.free
        )
        yield _gauge("labelstream_disk_size_bytes", "Bytes of the disk of HOME_DIR.", disk.total)

    def _of_the_ledger(self) -> Iterable[Metric]:
        waiting = backlog(self._store)
        alive = living_workers(self._store)
        chunks = GaugeMetricFamily(
            "labelstream_open_chunks",
            "Chunks that are queued or leased, of all jobs in the ledger.",
            labels=["queue", "state"],
        )
        lag = GaugeMetricFamily(
            "labelstream_lag_seconds",
            "Seconds since the oldest row that has no label yet was entered.",
            labels=["queue"],
        )
        for queue in waiting.queues:
            chunks.add_metric([queue.queue, "queued"], queue.queued)
            chunks.add_metric([queue.queue, "leased"], queue.leased)
            lag.add_metric([queue.queue], queue.lag_seconds)
        yield chunks
        yield lag
        yield _gauge("labelstream_running_jobs", "Jobs that are running.", waiting.running_jobs)
        yield _gauge(
            "labelstream_workers", "Workers of the ledger that gave a sign of life.", len(alive)
        )


def _gauge(name: str, what: str, value: float) -> Metric:
    return GaugeMetricFamily(name, what, value=value)
