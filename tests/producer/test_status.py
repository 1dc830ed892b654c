"""`producer status` and the summary of a job."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import UsageError
from db.ledger.stopping import cancel
from db.ledger.workers import WorkerRecord, record_worker
from db.migrate import upgrade
from db.store import Store
from producer.summary import summarise
from tests.producer.command import Command, command_on
from tests.producer.made_jobs import MadeJob, made_job

CONTRACT = [
    "job",
    "state",
    "rows",
    "labeled",
    "rejected",
    "labels",
    "model",
    "model_versions",
    "engine",
    "seconds",
    "rows_per_second",
    "database",
]


def half_done(store: Store) -> MadeJob:
    """Ten rows: 4 labelled, 1 rejected by the worker, 2 by the parser, 3 waiting."""
    job = MadeJob(store, options={"chunk_rows": 256, "keep_columns": ["lang", "day"]})
    first = job.chunk(["a secret text"] * 5, rejects=[("empty text", ""), ("too many fields", "x")])
    job.chunk(["another secret"] * 3)
    job.label(
        first,
        ["joy", "fear", "joy", "joy"],
        version=3,
        truncated=[2],
        rejected=[(5, "scores are not numbers")],
    )
    return job


def test_the_summary_has_the_keys_of_the_contract_and_hand_counted_values(store: Store) -> None:
    job = half_done(store)

    found = summarise(store, job.id).to_json()

    assert list(found) == CONTRACT
    assert found["state"] == "running"
    assert (found["rows"], found["labeled"], found["rejected"]) == (10, 4, 3)
    assert found["labels"] == {"joy": 3, "fear": 1}
    assert found["model"] == "emotion"
    assert found["model_versions"] == {"3": 4}
    assert found["engine"] == "constant"
    assert found["rows_per_second"] == pytest.approx(7 / found["seconds"], rel=0.1)


def test_a_job_without_rows_has_a_summary_without_a_division_by_zero(store: Store) -> None:
    job = MadeJob(store)
    assert job.finish() == "done"

    found = summarise(store, job.id).to_json()

    assert (found["rows"], found["labels"], found["model_versions"]) == (0, {}, {})
    assert found["engine"] is None
    assert found["rows_per_second"] == 0


def test_the_database_is_told_without_password_and_with_its_absolute_path(
    store: Store, command: Command
) -> None:
    job = made_job(store, ["x"])
    name = json.loads(command("status", job.id, "--json").out)["database"]

    if store.dialect == "sqlite":
        assert name.startswith("sqlite:////")
        assert Path(name.removeprefix("sqlite:///")).is_file()
    else:
        assert name.startswith("postgresql+psycopg://")


def test_status_of_a_job_as_json_is_one_object_with_the_summary_and_more(
    store: Store, command: Command
) -> None:
    job = half_done(store)

    result = command("status", job.id, "--json")

    assert (result.status, result.err) == (0, "")
    found = json.loads(result.out)
    assert list(found)[: len(CONTRACT)] == CONTRACT
    assert found["waiting"] == 3
    assert found["open_chunks"] == 1
    assert found["truncated"] == 1
    assert found["tokens"] == 100
    assert found["reject_reasons"] == {
        "empty text": 1,
        "scores are not numbers": 1,
        "too many fields": 1,
    }
    assert found["options"] == {"chunk_rows": 256, "keep_columns": ["lang", "day"]}


def test_status_of_a_job_for_people_tells_counts_reasons_and_no_text(
    store: Store, command: Command
) -> None:
    job = half_done(store)

    result = command("status", job.id)

    assert result.status == 0
    for expected in (
        f"job {job.id} is running",
        "1 empty text",
        "1 row longer than the model reads",
        "version 3 (4 rows)",
        "75.0%",
        "lang, day",
        f"producer rejects {job.id}",
    ):
        assert expected in result.out
    assert "secret" not in result.out + result.err


def test_status_lists_the_newest_jobs_first_and_no_dry_run(store: Store, command: Command) -> None:
    first = made_job(store, ["x", "y"], name="first.csv")
    MadeJob(store, name="dry.csv", hidden=True)
    second = half_done(store)

    found = json.loads(command("status", "--json").out)
    shown = command("status").out

    assert list(found) == ["jobs", "streams", "workers", "database"]
    assert [job["job"] for job in found["jobs"]] == [second.id, first.id]
    assert [job["state"] for job in found["jobs"]] == ["running", "done"]
    assert [job["rows"] for job in found["jobs"]] == [10, 2]
    assert [job["waiting"] for job in found["jobs"]] == [3, 0]
    assert "first.csv" in shown
    assert "dry.csv" not in shown
    assert "no worker is alive" in shown


def test_status_shows_the_workers_alive(store: Store, command: Command) -> None:
    record_worker(store, WorkerRecord("w1@host", ["emotion:1"], "torch", "cpu", ["labelstream"]))

    found = json.loads(command("status", "--json").out)

    assert found["workers"] == [
        {
            "name": "w1@host",
            "models": ["emotion:1"],
            "engine": "torch",
            "device": "cpu",
            "queues": ["labelstream"],
        }
    ]
    assert "w1@host" in command("status").out


def test_a_file_name_cannot_write_to_the_terminal(store: Store, command: Command) -> None:
    job = made_job(store, ["x"], name="\x1b[2Jevil\n[red]\u202e.csv")

    for result in (command("status"), command("status", job.id)):
        assert "\\x1b[2Jevil\\n[red]\\u202e.csv" in result.out
        assert "\x1b" not in result.out


def test_a_failed_job_tells_why(store: Store, command: Command) -> None:
    job = MadeJob(store)
    assert job.finish("the file broke off at byte 17") == "failed"

    assert f"job {job.id} is failed: the file broke off at byte 17" in command("status", job.id).out


def test_what_lands_after_a_cancel_does_not_make_the_job_longer(store: Store) -> None:
    job = MadeJob(store)
    chunk = job.chunk(["x"])
    job.label(chunk)
    before = summarise(store, job.id).seconds
    assert cancel(store, job.id)

    assert summarise(store, job.id).seconds == before


@pytest.mark.parametrize("number", [77, 10**30], ids=["77", "more than a database can hold"])
def test_a_job_that_is_not_there_is_one_line_and_status_2(
    store: Store, command: Command, number: int
) -> None:
    with pytest.raises(UsageError, match=f"there is no job {number}"):
        summarise(store, number)
    for name in ("status", "rejects", "export", "cancel", "purge"):
        result = command(name, number)
        assert result.status == 2
        assert result.out == ""
        assert result.err.startswith(f"error: there is no job {number} in ")
        assert result.err.count("\n") == 1


@pytest.mark.parametrize("name", ["status", "rejects", "export", "cancel", "purge"])
def test_without_a_database_one_line_names_the_first_step_and_nothing_is_made(
    name: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfdbinary: pytest.CaptureFixture[bytes],
) -> None:
    file = tmp_path / "home" / "labelstream.db"
    with command_on(f"sqlite:///{file}", tmp_path, monkeypatch, capfdbinary) as command:
        result = command(name, *([] if name == "status" else [1]))

    assert result.status == 2
    assert result.err == f"error: there is no database yet at {file}; first: producer ingest FILE\n"
    assert list(tmp_path.iterdir()) == []


def test_a_database_without_tables_and_a_file_that_is_none_are_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfdbinary: pytest.CaptureFixture[bytes]
) -> None:
    for name, content, expected in (
        ("empty.db", b"", "python -m db upgrade"),
        ("picture.db", b"\x89PNG and so on" * 100, "file is not a database"),
    ):
        (tmp_path / name).write_bytes(content)
        url = f"sqlite:///{tmp_path / name}"
        with command_on(url, tmp_path, monkeypatch, capfdbinary) as command:
            result = command("status")
        assert result.status == 2
        assert expected in result.err
        assert result.err.count("\n") == 1


def test_stdout_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    store = Store(f"sqlite:///{tmp_path / 'store.db'}")
    upgrade(store)
    job = made_job(store, ["x"])
    script = (
        "import typer; from db.errors import run_command; "
        "from producer.looking import add_commands; "
        "app = typer.Typer(); add_commands(app); run_command(app)"
    )
    environment = {**os.environ, "LABELSTREAM_DATABASE_URL": store.url}
    for arguments in (["status"], ["export", str(job.id)]):
        with Path("/dev/full").open("w") as full:
            ended = subprocess.run(
                [sys.executable, "-c", script, *arguments],
                stdout=full,
                stderr=subprocess.PIPE,
                env=environment,
                text=True,
                check=False,
            )
        assert ended.returncode == 2
        assert ended.stderr.startswith("error: standard output cannot be written (No space left")
        assert ended.stderr.count("\n") == 1
