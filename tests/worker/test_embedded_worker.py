"""The embedded run with the worker that really serves."""

import os
import signal
from pathlib import Path

from db.ledger.workers import living_workers
from db.settings import Settings
from db.store import open_store
from tests.worker.embedded_run import Run, is_live, wait_for
from worker.embedded import Embedded
from worker.preparing import prepare


def test_the_real_worker_serves_is_restarted_and_leaves(tmp_path: Path) -> None:
    settings = Settings(
        broker_url=None, database_url=None, home_dir=tmp_path / "home", engine="constant"
    )
    run = Run(settings.home)
    store = open_store(settings)
    try:
        with Embedded.join(settings, prepare=lambda: prepare(store, settings)) as embedded:
            embedded.wait_until_ready(90, lambda: living_workers(store))
            first = run.pids()["worker"]
            assert any(worker.name.endswith(f"/{first}") for worker in living_workers(store))
            os.kill(first, signal.SIGKILL)
            wait_for(lambda: not is_live(first), "the worker is dead")
            second = run.pids()["worker"]
            wait_for(
                lambda: any(w.name.endswith(f"/{second}") for w in living_workers(store)),
                "another worker is ready",
                90,
            )
        assert run.survivors() == []
        # Who was killed could not sign off, who was asked to leave did.
        assert not any(w.name.endswith(f"/{second}") for w in living_workers(store))
    finally:
        store.close()
