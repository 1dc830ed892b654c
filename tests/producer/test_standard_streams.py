"""Readers that leave early, and streams that were closed before the command began."""

import json
import os
import subprocess
from collections.abc import Iterator

import pytest

from db.migrate import upgrade
from db.store import Store
from tests.cluster import BIN, clean_environment
from tests.producer.made_jobs import made_job

COMMANDS = [
    ["status", "1", "--json"],
    ["rejects", "1", "--csv"],
    ["export", "1"],
]


@pytest.fixture(scope="module")
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The environment of a `producer` whose database has one finished job."""
    folder = tmp_path_factory.mktemp("streams")
    store = Store(f"sqlite:///{folder / 'store.db'}")
    upgrade(store)
    # More than a pipe holds.
    made_job(store, ["a text of some length " * 500] * 20)
    yield clean_environment(
        LABELSTREAM_DATABASE_URL=store.url, LABELSTREAM_HOME_DIR=str(folder / "home")
    )
    store.close()


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
def test_a_reader_that_has_gone_is_told_apart_from_a_job_that_failed(
    environment: dict[str, str], arguments: list[str]
) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    with os.fdopen(writing, "wb") as nobody_reads:
        ended = subprocess.run(
            [BIN / "producer", *arguments],
            stdout=nobody_reads,
            stderr=subprocess.PIPE,
            env=environment,
            text=True,
            timeout=60,
            check=False,
        )
    # As a shell says it of a program that the signal PIPE ended; 1 would be a failed job.
    assert (ended.returncode, ended.stderr) == (141, "")


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_stream_that_is_closed_is_no_place_for_a_database(
    environment: dict[str, str], closed: str
) -> None:
    ended = subprocess.run(
        ["sh", "-c", f'exec "$0" "$@" {closed}', str(BIN / "producer"), "status", "1", "--json"],
        capture_output=True,
        env=environment,
        text=True,
        timeout=60,
        check=False,
    )
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == "" if " >&-" in f" {closed}" else json.loads(ended.stdout)["rows"] == 20
