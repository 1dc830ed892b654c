"""What the pipeline carries, by rows, by workers and by database, without the model's arithmetic.

`python -m benchmarks.scale [--tables NAME ...] [--rows N ...] [--workers N ...] [--databases NAME ...]
[--rounds 3] [--no-fsync] [--json FILE]`. The tables, each of medians of rounds that take turns:

pipeline    one producer and one worker at once, engine `constant`: rows/s from the first row read to
            the last commit, with the worker ready; and the largest size beside that of 100,000 rows
memory      of the same runs: the peaks of the producer and of the worker
enqueue     `producer ingest --no-wait` while no worker runs: rows/s until the last row is in the ledger
tokenised   the engine `constant-tokenised`, and its tokenizer alone on the same texts
workers     the engine `fixed-time`, 256 rows in 256 ms in each worker, so many chunks for each
starter     the engine `--engine`: seconds from the worker's start until it takes messages, which is
            after its first micro-batch; and its peak at each of `--model-rows`

Texts are made, distinct and like tweets (100 characters, about 20 words, an id each); chunks have 256
rows, and nothing is remembered. SQLite does not wait for the disk at each commit, PostgreSQL does:
that is their default; `--no-fsync` lets it not wait either. Every run counts its rows in SQL, and ends the
command if one is missing. `LABELSTREAM_TEST_REDIS_URL` (its database is emptied) and
`LABELSTREAM_TEST_DATABASE_URL` name servers to be used instead.
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from benchmarks.postgres import postgres_server
from benchmarks.scale_runs import Entered, Ground, Run, entered, labelled, prepared, tokenised
from db.defaults import CHUNK_ROWS

TABLES = ("pipeline", "memory", "enqueue", "tokenised", "workers", "starter")
DATABASES = ("sqlite", "postgresql")

#: The size that the largest is compared with, and that stands for all where one is enough.
REFERENCE_ROWS = 100_000

#: Rows a second of one engine `fixed-time`.
PACE = 1000.0

Result = TypeVar("Result")
Key = TypeVar("Key")


@dataclass(frozen=True)
class Asked:
    """What the command line asks for."""

    tables: Sequence[str]
    rows: Sequence[int]
    workers: Sequence[int]
    databases: Sequence[str]
    rounds: int
    chunks_a_worker: int
    engine: str
    model_rows: Sequence[int]

    @property
    def reference(self) -> int:
        """The size that stands for all."""
        return REFERENCE_ROWS if REFERENCE_ROWS in self.rows else max(self.rows)


#: A line of a table, as it stands in the JSON.
Line = dict[str, Any]


def by_turns(
    what: str, rounds: int, keys: Sequence[Key], run: Callable[[Key], Result]
) -> dict[Key, list[Result]]:
    """Run each of `keys` in each of the rounds, so that a slow minute is nobody's alone."""
    found: dict[Key, list[Result]] = {key: [] for key in keys}
    for number in range(rounds):
        for key in keys:
            found[key].append(run(key))
            print(f"round {number + 1}, {what} {key}: {found[key][-1]}", file=sys.stderr)
    return found


def pipeline(ground: Ground, asked: Asked) -> dict[str, list[Line]]:
    """Return the tables of the pipeline alone: its speed, and its memory."""
    keys = [(database, rows) for database in asked.databases for rows in asked.rows]
    runs = by_turns(
        "pipeline", asked.rounds, keys, lambda key: labelled(ground, *key, engine="constant")
    )
    speed, memory = [], []
    for (database, rows), each in runs.items():
        line = {"database": database, "rows": rows}
        beside = _rate(runs[database, asked.reference])
        speed.append({**line, **_speed(each), "ratio": _rate(each) / beside})
        producer = max(run.producer_mib for run in each)
        worker = max(run.worker_mib for run in each)
        memory.append({**line, "producer_mib": producer, "worker_mib": worker})
    tables = {"pipeline": speed, "memory": memory}
    return {name: lines for name, lines in tables.items() if name in asked.tables}


def enqueue(ground: Ground, asked: Asked) -> list[Line]:
    """Return the table of entering alone."""
    keys = [(database, rows) for database in asked.databases for rows in asked.rows]
    runs = by_turns("enqueue", asked.rounds, keys, lambda key: entered(ground, *key))
    return [
        {
            "database": database,
            "rows": rows,
            **_speed(each),
            "whole_seconds": statistics.median(run.whole_seconds for run in each),
        }
        for (database, rows), each in runs.items()
    ]


def with_tokenizer(ground: Ground, asked: Asked) -> list[Line]:
    """Return the table of the real tokenizer, in the pipeline and alone."""
    rows, merged = asked.reference, ground.merged
    assert merged is not None, "its tokenizer stands there"
    runs = by_turns(
        "tokenised",
        asked.rounds,
        list(asked.databases),
        lambda database: labelled(ground, database, rows, engine="constant-tokenised"),
    )
    threads = sorted({1, os.cpu_count() or 1})
    alone = by_turns(
        "tokenizer alone, threads", asked.rounds, threads, lambda n: tokenised(merged, rows, n)
    )
    lines: list[Line] = [
        {"way": f"pipeline on {database}", "rows": rows, **_speed(each)}
        for database, each in runs.items()
    ]
    for number, seconds in alone.items():
        median = statistics.median(seconds)
        way = f"tokenizer alone, threads: {number}"
        lines.append(
            {"way": way, "rows": rows, "rows_per_second": rows / median, "seconds": median}
        )
    return lines


def by_workers(ground: Ground, asked: Asked) -> list[Line]:
    """Return the table of several workers, each with the same work."""
    keys = [(database, workers) for database in asked.databases for workers in asked.workers]

    def run(key: tuple[str, int]) -> Run:
        database, workers = key
        rows = workers * asked.chunks_a_worker * CHUNK_ROWS
        return labelled(ground, database, rows, engine="fixed-time", workers=workers)

    runs = by_turns("workers", asked.rounds, keys, run)
    lines = []
    for (database, workers), each in runs.items():
        fewest = min(asked.workers)
        linear = workers / fewest * _rate(runs[database, fewest])
        lines.append(
            {
                "database": database,
                "workers": workers,
                "rows": each[0].rows,
                **_speed(each),
                "share_of_linear": _rate(each) / linear,
                "share_of_the_engines": _rate(each) / (workers * PACE),
            }
        )
    return lines


def starter(ground: Ground, asked: Asked) -> list[Line]:
    """Return the table of a worker with a model, on the first database."""
    runs = by_turns(
        asked.engine,
        asked.rounds,
        list(asked.model_rows),
        lambda rows: labelled(
            ground, asked.databases[0], rows, engine=asked.engine, threads=os.cpu_count() or 1
        ),
    )
    return [
        {
            "database": asked.databases[0],
            "rows": rows,
            **_speed(each),
            "ready_seconds": statistics.median(run.ready for run in each),
            "worker_mib": max(run.worker_mib for run in each),
        }
        for rows, each in runs.items()
    ]


def measure(ground: Ground, asked: Asked) -> dict[str, list[Line]]:
    """Return the tables that are asked for, by name."""
    tables: dict[str, list[Line]] = {}
    if {"pipeline", "memory"} & set(asked.tables):
        tables |= pipeline(ground, asked)
    others = {
        "enqueue": enqueue,
        "tokenised": with_tokenizer,
        "workers": by_workers,
        "starter": starter,
    }
    return tables | {
        name: table(ground, asked) for name, table in others.items() if name in asked.tables
    }


def _rate(runs: Sequence[Run] | Sequence[Entered]) -> float:
    return statistics.median(run.rate for run in runs)


def _speed(runs: Sequence[Run] | Sequence[Entered]) -> Line:
    seconds = statistics.median(run.seconds for run in runs)
    return {"rows_per_second": _rate(runs), "seconds": seconds}


#: How each column is headed and printed.
COLUMNS: Mapping[str, tuple[str, str]] = {
    "way": ("way", "{:<30}"),
    "database": ("database", "{:<12}"),
    "workers": ("workers", "{:>8,}"),
    "rows": ("rows", "{:>10,}"),
    "rows_per_second": ("rows/s", "{:>9,.0f}"),
    "seconds": ("seconds", "{:>9.2f}"),
    "ratio": ("beside the reference", "{:>21.2f}"),
    "whole_seconds": ("whole command", "{:>14.2f}"),
    "share_of_linear": ("of linear", "{:>10.1%}"),
    "share_of_the_engines": ("of the engines", "{:>15.1%}"),
    "producer_mib": ("producer MiB", "{:>13.1f}"),
    "worker_mib": ("worker MiB", "{:>11.1f}"),
    "ready_seconds": ("ready after", "{:>12.2f}"),
}


def show(name: str, lines: Sequence[Line]) -> None:
    """Print one table, each heading above its numbers."""
    print(f"\n{name}")
    columns = [COLUMNS[column] for column in lines[0]]
    print("".join(_headed(title, form) for title, form in columns))
    for line in lines:
        print("".join(COLUMNS[column][1].format(value) for column, value in line.items()))


def _headed(title: str, form: str) -> str:
    width = len(form.format("" if "<" in form else 0))
    return title.ljust(width) if "<" in form else title.rjust(width)


@contextmanager
def servers(databases: Sequence[str], *, durable: bool) -> Iterator[dict[str, str | None]]:
    """Run what the databases need, and give the URL of each one's server; SQLite has none."""
    if "postgresql" not in databases:
        yield dict.fromkeys(databases)
        return
    with (
        tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True) as folder,
        postgres_server(Path(folder), durable=durable) as url,
    ):
        yield {name: url if name == "postgresql" else None for name in databases}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    add = parser.add_argument
    add("--tables", nargs="+", choices=TABLES, default=list(TABLES))
    add("--rows", nargs="+", type=int, default=[10_000, REFERENCE_ROWS, 1_000_000])
    add("--workers", nargs="+", type=int, default=[1, 2, 4, 8])
    add("--databases", nargs="+", choices=DATABASES, default=list(DATABASES))
    add("--rounds", type=int, default=3)
    add("--chunks-a-worker", type=int, default=100)
    add("--engine", default="auto")
    add("--model-rows", nargs="+", type=int, default=[2_000, 20_000])
    add("--no-fsync", action="store_true")
    add("--json", type=Path)
    given = vars(parser.parse_args())
    file, durable = given.pop("json"), not given.pop("no_fsync")
    asked = Asked(**given)
    needs_model = "starter" in asked.tables
    with (
        servers(asked.databases, durable=durable) as urls,
        prepared(
            urls,
            merge="tokenised" in asked.tables,
            engine=asked.engine if needs_model else None,
        ) as ground,
    ):
        tables = measure(ground, asked)
    waits = "waits" if durable else "does not wait"
    print(
        f"{os.cpu_count()} CPUs, medians of {asked.rounds} rounds; PostgreSQL {waits} for the disk"
    )
    for name, lines in tables.items():
        show(name, lines)
    if file is not None:
        told = {**asdict(asked), "fsync": durable, "cpus": os.cpu_count(), "lines": tables}
        file.write_text(json.dumps(told, indent=2) + "\n")


if __name__ == "__main__":
    main()
