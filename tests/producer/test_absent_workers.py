"""Nobody labels: whose part it is to start a worker is said once."""

from pathlib import Path

import pytest

from db.ledger.jobs import create_job, get_job, ledger_id
from db.ledger.workers import WorkerRecord, record_worker
from db.settings import Settings
from db.store import Store
from producer.running import JobRun
from producer.screen import Screen
from producer.services import Services
from tests.producer.made_jobs import new_job
from worker.celery import make_app
from worker.outbox import CeleryOutbox

#: No broker is asked here.
NOWHERE = "redis://127.0.0.1:1/0"


def job_run(store: Store, worker_log: Path | None) -> JobRun:
    app = make_app(NOWHERE, Settings(_env_file=None))
    outbox = CeleryOutbox(app, ledger_id(store))
    production = create_job(store, new_job(), "producer-1")
    services = Services(store, outbox, NOWHERE, 1.0, worker_log)
    return JobRun(services, get_job(store, production.job), production, Screen(), max_queued=4)


@pytest.mark.parametrize(
    ("worker_log", "advice"),
    [
        (None, "no worker serves the queue labelstream; start one: celery -A worker worker"),
        (
            Path("/home/me/worker.log"),
            "the worker has ended and is started again by itself; its log: /home/me/worker.log",
        ),
    ],
    ids=["workers of one's own", "embedded"],
)
def test_that_no_worker_lives_is_said_once_and_what_to_do(
    sqlite_store: Store,
    worker_log: Path | None,
    advice: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = job_run(sqlite_store, worker_log)
    for now in (100.0, 109.0):
        run._look_for_workers(now)
    assert capsys.readouterr().err == ""
    for now in (110.5, 130.0):
        run._look_for_workers(now)
    assert capsys.readouterr().err == f"warning: {advice}\n"


def test_a_worker_that_comes_back_in_time_is_not_missed(
    sqlite_store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    run = job_run(sqlite_store, None)
    run._look_for_workers(100.0)
    record_worker(sqlite_store, WorkerRecord("w", [], "torch", "cpu", ["labelstream"]))
    for now in (111.0, 130.0):
        run._look_for_workers(now)
    assert capsys.readouterr().err == ""
