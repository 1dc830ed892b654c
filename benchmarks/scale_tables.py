"""The tables of `benchmarks.scale`, each from runs that take turns."""

import os
import statistics
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from benchmarks.scale_runs import Entered, Ground, Run, entered, labelled, tokenised
from db.defaults import CHUNK_ROWS

#: Those of one and the same runs, and all.
OF_THE_PIPELINE = ("pipeline", "memory", "parts", "bytes")
TABLES = (*OF_THE_PIPELINE, "enqueue", "tokenised", "workers", "starter")

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
    """Return the tables of the pipeline alone: its speed, its memory, and what its parts spend."""
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
    least, most = min(asked.rows), max(asked.rows)
    parts, stored = [], []
    for database in asked.databases:
        few = runs[database, least] if least < most else []
        parts += parts_of(database, few, runs[database, most])
        stored.append(bytes_of(database, few, runs[database, most]))
    tables = {"pipeline": speed, "memory": memory, "parts": parts, "bytes": stored}
    return {name: lines for name, lines in tables.items() if name in asked.tables}


def parts_of(database: str, few: Sequence[Run], many: Sequence[Run]) -> list[Line]:
    """Return a line a part: its processor time for one row more, and what one processor carries."""
    lines = []
    for part in many[0].spent.cpu:

        def seconds(run: Run, part: str = part) -> float:
            return run.spent.cpu[part]

        a_row = _for_a_row(few, many, seconds)
        # Of a few rows the clock of a process, a hundredth of a second, may show nothing.
        one = 1 / a_row if a_row > 0 else None
        lines.append({"database": database, "part": part, "us_a_row": a_row * 1e6, "one_cpu": one})
    return lines


def bytes_of(database: str, few: Sequence[Run], many: Sequence[Run]) -> Line:
    stored = _for_a_row(few, many, lambda run: run.spent.stored)
    logged = _for_a_row(few, many, lambda run: run.spent.logged)
    return {"database": database, "stored_a_row": stored, "logged_a_row": logged}


def _for_a_row(few: Sequence[Run], many: Sequence[Run], spent: Callable[[Run], float]) -> float:
    """Return what a row costs by the difference of two sizes: without what a job costs of any size."""
    cost, rows = statistics.median(map(spent, many)), many[0].rows
    if few:
        cost, rows = cost - statistics.median(map(spent, few)), rows - few[0].rows
    return cost / rows


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
    if set(OF_THE_PIPELINE) & set(asked.tables):
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
