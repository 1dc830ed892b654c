"""Embedded mode: with nothing configured, one command does the whole job."""

import json
import sqlite3
import subprocess
from pathlib import Path

from tests.cluster import BIN, clean_environment

ROOT = Path(__file__).parents[2]


def run(
    folder: Path, *arguments: str | Path, program: str = "producer"
) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [BIN / program, *map(str, arguments)],
        cwd=folder,
        env=clean_environment(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


def test_one_command_labels_the_examples_and_leaves_nothing_running(tmp_path: Path) -> None:
    examples = ROOT / "examples" / "tweets.csv"
    done = run(tmp_path, "ingest", examples, "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    database = tmp_path / ".labelstream" / "labelstream.db"
    assert result["database"] == f"sqlite:///{database}"
    assert str(database) in done.stderr
    assert result["rejected"] == 3
    assert result["labeled"] >= 120
    with sqlite3.connect(database) as connection:
        labels = dict(
            connection.execute(
                "SELECT label, count(*) FROM labeled_texts GROUP BY label"
            ).fetchall()
        )
    assert labels == result["labels"]
    assert set(labels) == {"anger", "fear", "joy", "love", "sadness", "surprise"}
    assert (tmp_path / ".labelstream").stat().st_mode & 0o777 == 0o700
    mine = subprocess.run(
        ["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False
    )
    assert mine.stdout == "", "nothing is left running"

    again = run(tmp_path, "ingest", examples)
    assert again.returncode == 0
    assert f"job {result['job']} has these rows already" in again.stderr

    status = json.loads(run(tmp_path, "status", "1", "--json").stdout)
    assert (status["job"], status["state"]) == (1, "done")

    relabelled = run(tmp_path, "relabel", "1", "--model", "emotion:1", "--json")
    assert relabelled.returncode == 0, relabelled.stderr
    child = json.loads(relabelled.stdout)
    assert child["job"] != 1
    assert child["labels"] == labels
    with sqlite3.connect(database) as connection:
        parents = connection.execute("SELECT parent_job FROM jobs WHERE id = ?", (child["job"],))
        assert parents.fetchone() == (1,)
        differing = connection.execute(
            "SELECT count(*) FROM labeled_texts a JOIN labeled_texts b USING (row_number)"
            " WHERE a.job_id = 1 AND b.job_id = ? AND a.label <> b.label",
            (child["job"],),
        )
        assert differing.fetchone() == (0,)

    exported = run(tmp_path, "export", "1", "--format", "jsonl")
    assert len(exported.stdout.splitlines()) == result["labeled"]


def test_a_dry_run_checks_every_row_and_keeps_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    rows = [f"{n},i feel happy about number {n}" for n in range(1, 401)]
    path.write_text("\n".join(["id,text", *rows, "401,", "402", "403,fine,extra"]) + "\n")
    done = run(tmp_path, "ingest", path, "--dry-run", "--json")
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert (result["rows"], result["rejected"], result["sampled"]) == (403, 3, 200)
    assert result["reasons"] == {
        "empty text": 1,
        "too few fields: 1 of 2": 1,
        "too many fields: 3 of 2": 1,
    }
    assert sum(result["labels"].values()) == 200
    assert result["expected_seconds"] > 0
    database = sqlite3.connect(tmp_path / ".labelstream" / "labelstream.db")
    for table in ("labeled_texts", "rejects"):
        assert database.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
    database.close()
    assert json.loads(run(tmp_path, "status", "--json").stdout)["jobs"] == []


def test_no_wait_is_refused_with_advice(tmp_path: Path) -> None:
    path = tmp_path / "few.csv"
    path.write_text("text\nhello\n")
    done = run(tmp_path, "ingest", path, "--no-wait")
    assert done.returncode == 2
    assert "LABELSTREAM_BROKER_URL" in done.stderr


def test_a_worker_with_nothing_configured_exits_with_advice(tmp_path: Path) -> None:
    done = run(tmp_path, "-A", "worker", "worker", program="celery")
    assert done.returncode == 2
    errors = [line for line in done.stderr.splitlines() if line.startswith("error:")]
    assert len(errors) == 1
    assert "producer ingest" in errors[0]
