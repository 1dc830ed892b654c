"""What the pipeline carries, by rows, by workers and by database, without the model's arithmetic.

`python -m benchmarks.scale [--tables NAME ...] [--rows N ...] [--workers N ...] [--databases NAME ...]
[--rounds 3] [--no-fsync] [--json FILE]`. The tables, each of medians of rounds that take turns:

pipeline    one producer and one worker at once, engine `constant`: rows/s from the first row read to
            the last commit, with the worker ready; and the largest size beside that of 100,000 rows
memory      of the same runs: the peaks of the producer and of the worker
parts       of the same runs: processor time of each process for one row more (the difference between
            the least and the largest size), and the rows/s that one processor of it would carry
bytes       of the same runs: what one row more adds to the database, and to PostgreSQL's log
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
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from benchmarks.postgres import postgres_server
from benchmarks.scale_runs import prepared
from benchmarks.scale_tables import REFERENCE_ROWS, TABLES, Asked, Line, measure

DATABASES = ("sqlite", "postgresql")

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
    "part": ("part", "{:<12}"),
    "us_a_row": ("us of CPU a row", "{:>17.2f}"),
    "one_cpu": ("rows/s of one CPU", "{:>19,.0f}"),
    "stored_a_row": ("stored bytes a row", "{:>20,.0f}"),
    "logged_a_row": ("logged bytes a row", "{:>20,.0f}"),
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
        print("".join(_printed(COLUMNS[column][1], value) for column, value in line.items()))


def _printed(form: str, value: object) -> str:
    return "-".rjust(len(form.format(0))) if value is None else form.format(value)


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
