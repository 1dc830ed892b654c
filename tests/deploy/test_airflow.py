"""The DAGs: what their tasks run does what it should, and a real Airflow runs them where there is one."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster import Cluster, wait_until
from tests.deploy.nightly import (
    LABELED,
    REJECTED,
    SCHEDULING,
    TEXTS,
    bare_environment,
    deployment,
    loaded_commands,
    places,
)

#: A Python that has Airflow, which wants an environment of its own.
AIRFLOW = os.environ.get("LABELSTREAM_TEST_AIRFLOW")

DAY = "2026-03-14"
LIMIT = 120.0


@pytest.fixture
def labelling(tmp_path: Path, redis_url: str) -> Iterator[Cluster]:
    with deployment(tmp_path, redis_url, LABELSTREAM_ENGINE="text-hash") as cluster:
        cluster.start_worker()
        (tmp_path / "texts" / f"{DAY}.csv").write_text(TEXTS)
        yield cluster


@pytest.fixture
def nightly(labelling: Cluster, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Give the commands, pointed at the deployment; its settings reach them by the `.env` alone."""
    for name, value in bare_environment(**places(labelling.folder)).items():
        monkeypatch.setenv(name, value)
    return loaded_commands()


def test_a_day_is_labelled_once_and_exported_however_often_its_tasks_run(
    labelling: Cluster, nightly: Any
) -> None:
    first, second = (nightly.run(nightly.ingest(DAY), LIMIT) for _ in range(2))
    assert (first.status, second.status) == (0, 0), first.log + second.log
    assert first.result["job"] == second.result["job"]
    assert (first.result["labeled"], first.result["rejected"]) == (LABELED, REJECTED)
    # It is the key's doing: a file that grew is the same day.
    (labelling.folder / "texts" / f"{DAY}.csv").write_text(TEXTS + "40,one more\n")
    assert nightly.run(nightly.ingest(DAY), LIMIT).result["job"] == first.result["job"]
    assert labelling.value("SELECT count(*) FROM labeled_texts") == LABELED
    for _ in range(2):
        assert nightly.run(nightly.export(first.result["job"], DAY), LIMIT).status == 0
    assert (labelling.folder / "labels" / f"{DAY}.parquet").stat().st_size


def test_how_a_command_ended_is_told_by_its_status_its_object_and_one_line(
    labelling: Cluster, nightly: Any
) -> None:
    missing = nightly.run(nightly.ingest("2026-03-15"), LIMIT)
    assert (missing.status, missing.result) == (2, None)
    assert missing.error.startswith("error: ")
    assert "2026-03-15.csv" in missing.error

    (labelling.folder / "texts" / f"{DAY}.csv").write_text("id,text\n1,\n")
    rejected = nightly.run(nightly.ingest(DAY), LIMIT)
    assert (rejected.status, rejected.result["rejected"]) == (nightly.FAILED, 1)
    assert "every row was rejected (1)" in rejected.error

    untrained = nightly.run(nightly.retrain(), LIMIT)
    assert untrained.status == 2
    assert "data does not exist: check --data" in untrained.error


def test_a_command_that_takes_too_long_is_told_to_leave(labelling: Cluster, nightly: Any) -> None:
    labelling.processes[-1].terminate()
    labelling.processes[-1].wait(timeout=40)
    # Nobody labels it.
    left = nightly.run(nightly.ingest(DAY), 6)
    assert (left.status, left.error) == (130, "interrupted")


# ---- a real Airflow -----------------------------------------------------------------------------


@pytest.fixture
def airflow(labelling: Cluster) -> dict[str, str]:
    """Give the environment of a real Airflow whose DAGs are ours, with a database of its own."""
    if not AIRFLOW:
        pytest.skip("no Airflow: LABELSTREAM_TEST_AIRFLOW names no Python that has apache-airflow")
    folder = labelling.folder / "airflow"
    folder.mkdir()
    environment = bare_environment(
        **places(labelling.folder),
        HOME=str(folder),
        AIRFLOW_HOME=str(folder),
        AIRFLOW__CORE__DAGS_FOLDER=str(SCHEDULING),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
    )
    assert run_airflow(environment, "db", "migrate").returncode == 0
    return environment


def airflow_command() -> list[str]:
    assert AIRFLOW
    return [AIRFLOW, "-m", "airflow"]


def run_airflow(environment: dict[str, str], *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*airflow_command(), *arguments], env=environment, capture_output=True, text=True,
        timeout=240, check=False,
    )  # fmt: skip


@pytest.mark.timeout(900)
def test_airflow_runs_a_day_twice_and_labels_it_once(
    labelling: Cluster, airflow: dict[str, str]
) -> None:
    errors = run_airflow(airflow, "dags", "list-import-errors", "--output", "json")
    assert json.loads(errors.stdout[errors.stdout.rindex("[") :]) == [], errors.stdout
    for _ in range(2):
        done = run_airflow(airflow, "dags", "test", "labelstream_ingest", DAY)
        assert done.returncode == 0, done.stdout + done.stderr
    assert labelling.value("SELECT count(*) FROM jobs WHERE NOT hidden") == 1
    assert labelling.value("SELECT count(*) FROM labeled_texts") == LABELED
    assert (labelling.folder / "labels" / f"{DAY}.parquet").stat().st_size


@pytest.mark.timeout(900)
def test_airflow_fails_a_job_that_failed_and_tries_again_what_may_be_better_later(
    labelling: Cluster, airflow: dict[str, str]
) -> None:
    (labelling.folder / "texts" / f"{DAY}.csv").write_text("id,text\n1,\n")
    failed = run_airflow(airflow, "dags", "test", "labelstream_ingest", DAY)
    said = failed.stdout + failed.stderr
    assert "every row was rejected (1)" in said
    assert "AirflowFailException" in said
    assert "UP_FOR_RETRY" not in said.upper()

    # `dags test` itself waits for the retry, which is in a quarter of an hour: it is not awaited.
    log = labelling.folder / "later.log"
    with log.open("w") as output:
        later = subprocess.Popen(
            [*airflow_command(), "dags", "test", "labelstream_ingest", "2026-03-15"],
            env=airflow, stdin=subprocess.DEVNULL, stdout=output, stderr=output,
        )  # fmt: skip
    try:
        wait_until(
            lambda: "UP_FOR_RETRY" in log.read_text().upper(), 240, "it is to be tried again"
        )
    finally:
        later.kill()
        later.wait(timeout=30)
    assert "AirflowException" in log.read_text()
    assert "status 2: error: " in log.read_text()
