"""How long the README's six queries take at five million labelled texts, and by which plans.

`python -m benchmarks.queries [--rows 5000000] [--rounds 5] [--first SQL] [--json FILE]`: on a
PostgreSQL with its own defaults, filled as `benchmarks.labelled_table` says and vacuumed; `:job` is
the largest job. For each query: the seconds of its first run and the median of `--rounds` more, seen
from the client; the plan of one more run; and whether that reads labeled_texts from end to end. With
`--first` the statements are run before, an index for example, to see what that would change.
`LABELSTREAM_TEST_DATABASE_URL` names a server to be used instead, in a database of its own.
"""

import argparse
import json
import re
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.labelled_table import fill
from benchmarks.postgres import postgres_database, settings_of
from db.migrate import upgrade
from db.store import Store

#: They stand in the README too, as a test shows.
QUERIES = Path(__file__).parents[1] / "examples" / "queries"

GOAL_SECONDS = 2.0


@dataclass(frozen=True)
class Line:
    """One query: how long it took, and how it was done."""

    query: str
    #: Rows that it returned.
    returned: int
    first_seconds: float
    median_seconds: float
    #: Whether the plan reads labeled_texts from end to end.
    sequential: bool
    plan: str


@dataclass(frozen=True)
class Table:
    """What was measured, and on what."""

    labeled_texts: int
    rejects: int
    chunks: int
    #: Bytes of labeled_texts, and of each of its indexes.
    bytes: dict[str, int]
    settings: dict[str, str]
    #: The job that stands for `:job`, and its labelled texts.
    job: int
    job_texts: int
    lines: list[Line]


def read_queries(job: int) -> dict[str, str]:
    """Return the six queries by name, with a job's number in the place of `:job`."""
    return {
        path.stem: re.sub(r":job\b", str(job), path.read_text(encoding="utf-8")).strip().rstrip(";")
        for path in sorted(QUERIES.glob("*.sql"))
    }


def measure(store: Store, name: str, query: str, rounds: int) -> Line:
    """Run a query once, `rounds` times more, and once to have its plan."""
    seconds = []
    returned = 0
    for _ in range(1 + rounds):
        with store.read() as connection:
            started = time.perf_counter()
            returned = len(connection.exec_driver_sql(query).all())
            seconds.append(time.perf_counter() - started)
    with store.read() as connection:
        explained = connection.exec_driver_sql(f"EXPLAIN (ANALYZE, BUFFERS) {query}").scalars()
        plan = "\n".join(explained)
    sequential = re.search(r"Seq Scan on labeled_texts\b", plan) is not None
    return Line(name, returned, seconds[0], statistics.median(seconds[1:]), sequential, plan)


def sizes(store: Store) -> dict[str, int]:
    """Return the bytes of labeled_texts, without what is stored apart, and of its indexes."""
    query = (
        "SELECT relname, pg_relation_size(oid) AS bytes FROM pg_class WHERE oid = "
        "'labeled_texts'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = "
        "'labeled_texts'::regclass) ORDER BY relkind DESC, relname"
    )
    with store.read() as connection:
        return {row.relname: row.bytes for row in connection.exec_driver_sql(query)}


def count(store: Store, table: str) -> int:
    """Return how many rows a table has."""
    with store.read() as connection:
        return int(connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608


@contextmanager
def filled(rows: int, first: Sequence[str] = ()) -> Iterator[tuple[Store, int]]:
    """Give a filled store and the number of its largest job."""
    with (
        tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True) as folder,
        postgres_database(Path(folder), durable=True) as url,
    ):
        store = Store(url)
        try:
            upgrade(store)
            jobs = fill(store, rows, lambda line: print(line, file=sys.stderr))
            # No transaction around them: one may be VACUUM.
            with store.engine.connect() as plain:
                connection = plain.execution_options(isolation_level="AUTOCOMMIT")
                for statement in first:
                    connection.exec_driver_sql(statement)
            yield store, max(jobs, key=lambda job: job.labeled).id
        finally:
            store.close()


def run(rows: int, rounds: int, first: Sequence[str] = ()) -> Table:
    """Return the table."""
    with filled(rows, first) as (store, job):
        lines = []
        for name, query in read_queries(job).items():
            lines.append(measure(store, name, query, rounds))
            print(f"{name}: {lines[-1].median_seconds:.3f} s", file=sys.stderr)
        return Table(
            count(store, "labeled_texts"),
            count(store, "rejects"),
            count(store, "chunks"),
            sizes(store),
            settings_of(store),
            job,
            count(store, f"labeled_texts WHERE job_id = {job}"),
            lines,
        )


def show(table: Table) -> None:
    """Print the table, and under it the plans."""
    print(
        f"{table.labeled_texts:,} labelled texts, {table.rejects:,} rejects, {table.chunks:,} chunks; "
        f"job {table.job} has {table.job_texts:,} of the texts"
    )
    print("PostgreSQL:", ", ".join(f"{name} {value}" for name, value in table.settings.items()))
    for name, size in table.bytes.items():
        print(f"  {name:40}{size / 2**20:9,.0f} MiB")
    print(
        f"{'query':24}{'rows':>6}{'first':>10}{'median':>10}  under {GOAL_SECONDS:.0f} s  sequential scan"
    )
    for line in table.lines:
        print(
            f"{line.query:24}{line.returned:6,}{line.first_seconds:8.3f} s{line.median_seconds:8.3f} s"
            f"  {'yes' if line.median_seconds < GOAL_SECONDS else 'NO':9}"
            f"  {'yes' if line.sequential else 'no'}"
        )
    for line in table.lines:
        print(f"\n{line.query}\n{line.plan}")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=5_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--first", action="append", default=[], metavar="SQL")
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    table = run(asked.rows, asked.rounds, asked.first)
    show(table)
    if asked.json is not None:
        asked.json.write_text(json.dumps(asdict(table), indent=2) + "\n")


if __name__ == "__main__":
    main()
