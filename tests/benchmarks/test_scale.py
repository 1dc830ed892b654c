"""`benchmarks.scale`: it runs, counts what it labels in SQL, and its tables say what was measured."""

import json
import os
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.made_tweets import made_tweets
from benchmarks.scale_parts import Spent
from benchmarks.scale_runs import Ground, Run, entered, labelled, prepared
from benchmarks.scale_tables import bytes_of, parts_of

ROOT = Path(__file__).parents[2]

Tables = dict[str, list[dict[str, Any]]]


def measured(file: Path, *options: str, **settings: str) -> tuple[Tables, str]:
    """Run the command, and return its tables and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.scale", *options, "--rounds", "1", "--json", file],
        cwd=ROOT,
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    tables: Tables = json.loads(file.read_text())["lines"]
    return tables, done.stdout


def of(lines: list[dict[str, Any]], *columns: str) -> list[list[Any]]:
    return [[line[column] for column in columns] for line in lines]


def test_rows_are_labelled_and_entered_on_both_databases(
    tmp_path: Path, redis_url: str, postgres_server: str
) -> None:
    tables, printed = measured(
        tmp_path / "scale.json",
        *("--tables", "pipeline", "memory", "parts", "bytes", "enqueue", "--rows", "300"),
        LABELSTREAM_TEST_REDIS_URL=redis_url,
        LABELSTREAM_TEST_DATABASE_URL=postgres_server,
    )
    assert list(tables) == ["pipeline", "memory", "parts", "bytes", "enqueue"]
    both = [["sqlite", 300], ["postgresql", 300]]
    for name in ("pipeline", "memory", "enqueue"):
        assert of(tables[name], "database", "rows") == both, name
        assert f"\n{name}\n" in printed
    for line in tables["pipeline"]:
        assert line["rows_per_second"] == pytest.approx(300 / line["seconds"])
        assert line["ratio"] == 1.0
    for line in tables["memory"]:
        # No Python that has imported a driver and Celery has less.
        assert line["producer_mib"] > 30
        assert line["worker_mib"] > 30
    assert of(tables["parts"], "database", "part") == [
        *(["sqlite", part] for part in ("producer", "worker", "redis")),
        *(["postgresql", part] for part in ("producer", "worker", "redis", "postgresql")),
    ]
    on_sqlite, on_postgresql = tables["bytes"]
    # A row has a text of a hundred bytes and its scores, and PostgreSQL logs what it stores.
    assert on_sqlite["stored_a_row"] > 100
    assert on_postgresql["stored_a_row"] > 100
    assert (on_sqlite["logged_a_row"], on_postgresql["logged_a_row"] > 100) == (0, True)
    for line in tables["enqueue"]:
        assert line["rows_per_second"] == pytest.approx(300 / line["seconds"])
        assert line["whole_seconds"] > line["seconds"]


def test_the_tokenizer_the_workers_and_a_model_have_tables_of_their_own(
    tmp_path: Path, redis_url: str
) -> None:
    tables, _ = measured(
        tmp_path / "scale.json",
        *("--tables", "tokenised", "workers", "starter", "--databases", "sqlite", "--rows", "300"),
        *("--workers", "1", "2", "--chunks-a-worker", "2"),
        *("--engine", "text-hash", "--model-rows", "200"),
        LABELSTREAM_TEST_REDIS_URL=redis_url,
    )
    assert list(tables) == ["tokenised", "workers", "starter"]
    threads = sorted({1, os.cpu_count() or 1})
    assert of(tables["tokenised"], "way", "rows") == [
        ["pipeline on sqlite", 300],
        *([f"tokenizer alone, threads: {number}", 300] for number in threads),
    ]
    # Two chunks of 256 rows for each worker, which takes a millisecond for each row.
    assert of(tables["workers"], "workers", "rows") == [[1, 512], [2, 1024]]
    one, two = (line["rows_per_second"] for line in tables["workers"])
    assert one <= 1000
    assert two <= 2000
    assert of(tables["workers"], "share_of_linear", "share_of_the_engines") == [
        [1.0, pytest.approx(one / 1000)],
        [pytest.approx(two / (2 * one)), pytest.approx(two / 2000)],
    ]
    (line,) = tables["starter"]
    assert (line["database"], line["rows"]) == ("sqlite", 200)
    assert line["ready_seconds"] > 0
    assert line["worker_mib"] > 30


@pytest.fixture
def ground(redis_url: str, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setenv("LABELSTREAM_TEST_REDIS_URL", redis_url)
    with prepared({"sqlite": None}) as made:
        yield made


def test_a_run_that_lacks_a_row_ends_the_command(ground: Ground) -> None:
    rows = [f"{number},text {number}\n" for number in range(300)]
    ground.file(300).write_text("id,text\n" + "".join(rows[:299]) + "299,\n")
    with pytest.raises(SystemExit, match="of 300 rows 299 are labelled"):
        labelled(ground, "sqlite", 300, engine="constant")
    ground.file(300).write_text("id,text\n" + "".join(rows[:299]))
    with pytest.raises(SystemExit, match="of 300 rows 299 are entered"):
        entered(ground, "sqlite", 300)


def run_of(rows: int, producer: float, redis: float, stored: int, logged: int) -> Run:
    spent = Spent({"producer": producer, "redis": redis}, stored, logged)
    return Run(rows, 1.0, 100.0, 100.0, 1.0, spent)


def test_what_a_row_costs_is_told_by_the_difference_of_two_sizes() -> None:
    # The start of a producer, 1 s, is not its rows'; the first of three odd runs is nobody's.
    few = [run_of(100, seconds, 0.5, 5000, 800) for seconds in (9.0, 1.0, 1.25)]
    many = [run_of(300, seconds, 0.5, 25_000, 2400) for seconds in (0.0, 1.75, 2.0)]
    assert parts_of("sqlite", few, many) == [
        {"database": "sqlite", "part": "producer", "us_a_row": 2500.0, "one_cpu": 400.0},
        {"database": "sqlite", "part": "redis", "us_a_row": 0.0, "one_cpu": None},
    ]
    assert bytes_of("sqlite", few, many) == {
        "database": "sqlite", "stored_a_row": 100.0, "logged_a_row": 8.0
    }  # fmt: skip
    assert bytes_of("sqlite", [], few)["stored_a_row"] == 50.0, "of one size all of it"


def test_made_texts_are_distinct_the_same_each_time_and_as_long_as_tweets() -> None:
    texts = list(made_tweets(2000))
    assert len(set(texts)) == 2000
    assert list(made_tweets(100)) == texts[:100]
    assert 19 <= statistics.mean(len(text.split()) for text in texts) <= 21
    assert 90 <= statistics.mean(map(len, texts)) <= 110
