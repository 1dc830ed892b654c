"""The embedded worker's start is waited for, as long as its first one may take and no longer."""

import re
from pathlib import Path

import pytest

from db.defaults import QUEUE
from db.errors import ServiceUnavailable
from db.settings import Settings
from producer import services
from producer.services import open_services


def test_a_worker_that_is_not_ready_in_time_is_given_up_with_where_to_look(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(services, "FIRST_START_SECONDS", 0.01)
    settings = Settings(_env_file=None, home_dir=tmp_path / "home", engine="constant")
    said: list[str] = []
    expected = f"was not ready within 0 s; see {tmp_path}/home/logs/worker.log"
    with (
        pytest.raises(ServiceUnavailable, match=re.escape(expected)),
        open_services(settings, queue=QUEUE, say=said.append),
    ):
        pytest.fail("no worker is ready in no time")
    assert said[-1].startswith("the worker loads its model; the first time that takes a little")
