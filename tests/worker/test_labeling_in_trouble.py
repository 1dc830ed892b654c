"""A chunk whose database is away or has lost its tables, and a worker that leaves meanwhile."""

import logging
import threading
from collections.abc import Callable
from types import SimpleNamespace

import pytest

from db.ledger.producing import JobWriter
from db.registry.names import DEFAULT_ALIAS
from db.registry.versions import Version, add_version
from db.store import Store
from tests.cluster import wait_until
from tests.db.ledger_parts import add, begin, change
from tests.proxy import proxy_to
from tests.worker.made_engines import Held, MadeEngine
from tests.worker.test_labeling import NEW, Worker, job, make_worker, state
from worker import lifecycle
from worker.messages import ChunkMessage
from worker.task import label_chunk

__all__ = ["job", "make_worker"]


def test_tables_that_are_gone_are_one_line_of_the_log(
    store: Store,
    job: JobWriter,
    make_worker: Callable[..., Worker],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    worker = make_worker()
    wire = ChunkMessage(worker.ledger, job.job, add(job, 1, 3)).to_wire()
    monkeypatch.setattr(lifecycle, "_runtime", SimpleNamespace(labeler=worker.labeler))
    change(store, "ALTER TABLE chunks RENAME TO chunks_before")
    label_chunk(wire)
    (error,) = [record for record in caplog.records if record.levelno >= logging.ERROR]
    assert error.getMessage().startswith(f"job {job.job} chunk 1: the database failed (")
    assert error.exc_info is None


def test_who_waits_for_a_model_to_load_leaves_when_the_worker_leaves(
    store: Store, job: JobWriter, make_worker: Callable[..., Worker]
) -> None:
    loading, go_on = threading.Event(), threading.Event()

    def load(_: Version) -> MadeEngine:
        loading.set()
        go_on.wait(60)
        return MadeEngine()

    worker = make_worker(load)
    waiting = worker.label_aside(job.job, add(job, 1, 3))
    assert loading.wait(30)
    worker.labeler.drain()
    waiting.join(30)
    go_on.set()
    assert waiting.said is False, "the message is given back"
    assert state(store, job, 1) == "queued"


def test_who_waits_for_a_database_that_is_away_leaves_when_the_worker_leaves(
    postgres_store: Store,
) -> None:
    job = begin(postgres_store)
    chunk = add(job, 1, 3)
    with proxy_to(postgres_store.url) as proxy:
        far = Store(proxy.url(postgres_store.url))
        worker = Worker(far)
        proxy.cut()
        waiting = worker.label_aside(job.job, chunk)
        accepted = proxy.accepted
        wait_until(lambda: proxy.accepted > accepted + 2, 30, "it is tried again")
        worker.labeler.drain()
        waiting.join(30)
        assert waiting.said is False, "the message is given back"
        worker.engine.stop()
        far.close()
    assert state(postgres_store, job, chunk) == "queued"


def test_results_that_no_database_takes_are_given_up_after_the_patience_and_the_worker_goes_on(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    job = begin(postgres_store)
    lost, next_one = add(job, 1, 3), add(job, 11, 3)
    add_version(postgres_store, NEW, who="test", alias=DEFAULT_ALIAS)
    engine = Held()
    with proxy_to(postgres_store.url) as proxy:
        far = Store(proxy.url(postgres_store.url), patience=1)
        worker = Worker(far, lambda _: MadeEngine(engine))
        monkeypatch.setattr(lifecycle, "_runtime", SimpleNamespace(labeler=worker.labeler))
        wire = ChunkMessage(worker.ledger, job.job, lost).to_wire()
        labelling = threading.Thread(target=label_chunk, args=(wire,), daemon=True)
        labelling.start()
        assert engine.inside.wait(30)
        proxy.cut()
        engine.go_on.set()
        labelling.join(30)
        assert not labelling.is_alive()
        errors = [record for record in caplog.records if record.levelno >= logging.ERROR]
        assert len(errors) == 1
        assert f"job {job.job} chunk {lost}: database " in errors[0].getMessage()
        assert state(postgres_store, job, lost) == "leased", "its lease runs out"
        proxy.restore()
        assert worker.label(job.job, next_one) is True
        worker.engine.stop()
        far.close()
    assert state(postgres_store, job, next_one) == "done"
