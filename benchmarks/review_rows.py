"""How long the next rows for a reviewer, and what answers tell, take in a job of a million rows.

`python -m benchmarks.review_rows [--rows 1000000] [--corrected 10000] [--rounds 5] [--plans]`: on
SQLite and on a PostgreSQL with its own defaults. Of the job's rows the `--corrected` least confident
have a correction, and half as many rows an answer under `random` (one in twenty of those is withdrawn
again); one label in a thousand is `rare`. Medians of the rounds, each behind one that does not
count. With `--plans` the plan of every statement that took part is printed too.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, text

from benchmarks.postgres import postgres_database
from db.audits import audit
from db.migrate import upgrade
from db.registry.versions import add_version
from db.store import Store
from tests.db.ledger_parts import begin
from tests.db.models import new_version
from training.review.names import Strategy
from training.review.picking import labels_of, next_rows

LABELS = ("anger", "fear", "joy", "rare")

#: Rows that a page asks for at once.
WANTED = 10

_ROWS = """
INSERT INTO labeled_texts (
    job_id, row_number, external_id, id_scope, text_hash, text, truncated, label, confidence, scores,
    unsure, model, model_version, engine, labeled_at)
WITH RECURSIVE numbers(i) AS (
    SELECT CAST(1 AS BIGINT) UNION ALL SELECT i + 1 FROM numbers WHERE i < :rows
)
SELECT 1, i, NULL, 'rows.csv', 'hash ' || i, 'a text of some length, as they are, with number ' || i,
       false,
       CASE WHEN i % 1000 = 7 THEN 'rare' WHEN i % 10 < 5 THEN 'joy' WHEN i % 10 < 8 THEN 'fear'
            ELSE 'anger' END,
       1 - 0.65 * u * u * u * u, '{}', false, 'emotion', 1, 'openvino', :at
FROM (SELECT i, i * 2654435761 % 4294967296 / 4294967296.0 AS u FROM numbers) spread
"""

_CHUNKS = """
INSERT INTO chunks (
    job_id, number, row_count, rejected_parsed, labeled, rejected_worker, state, queue, queued_at,
    claims, suspect, claimed_alone, strikes, model_version, done_at)
SELECT 1, (row_number + 255) / 256, 256, 0, 256, 0, 'done', 'labelstream', :at, 1, false, false, 0, 1,
       :at
FROM labeled_texts WHERE job_id = 1 AND row_number % 256 = 1
"""

_CORRECTED = """
INSERT INTO corrections (job_id, row_number, label, annotator, at, strategy)
SELECT job_id, row_number, 'joy', 'ann', :at, 'uncertain' FROM labeled_texts WHERE job_id = 1
ORDER BY confidence LIMIT :corrected
"""

_AUDITED = """
INSERT INTO corrections (job_id, row_number, label, annotator, at, strategy)
SELECT job_id, row_number, CASE WHEN row_number % 11 = 0 THEN 'fear' ELSE label END, 'bob', :at,
       'random'
FROM labeled_texts WHERE job_id = 1 AND row_number * 40503 % 1000003 < 1000003 / :each
"""

_WITHDRAWN = """
INSERT INTO corrections (job_id, row_number, label, annotator, at, strategy)
SELECT job_id, row_number, NULL, annotator, :at, NULL FROM corrections
WHERE strategy = 'random' AND id % 20 = 0
"""


def fill(store: Store, rows: int, corrected: int) -> None:
    """Fill the migrated, empty `store` with one job."""
    add_version(store, new_version(labels=LABELS), who="a benchmark")
    add_version(store, new_version(labels=LABELS), who="a benchmark")
    begin(store)
    with store.write() as connection:
        at = "2026-01-01 00:00:00.000000" + ("" if store.dialect == "sqlite" else "+00")
        connection.execute(text(_ROWS), {"rows": rows, "at": at})
        connection.execute(text(_CHUNKS), {"at": at})
        given = {"at": at.replace("-01-01", "-02-01")}
        connection.execute(text(_CORRECTED), {**given, "corrected": corrected})
        connection.execute(text(_AUDITED), {**given, "each": max(2 * rows // corrected, 1)})
        connection.execute(text(_WITHDRAWN), {"at": at.replace("-01-01", "-03-01")})
    with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.exec_driver_sql("ANALYZE" if store.dialect == "sqlite" else "VACUUM (ANALYZE)")


def asked(store: Store) -> dict[str, Callable[[], Any]]:
    """Return what is measured, by name."""
    [*_, last] = next_rows(store, 1, Strategy.UNCERTAIN, WANTED)
    behind = (last.confidence, last.row)
    some = set(range(1, 1000))

    def rows(strategy: Strategy, **options: Any) -> Callable[[], Any]:
        return lambda: next_rows(store, 1, strategy, WANTED, **options)

    return {
        "least confident": rows(Strategy.UNCERTAIN),
        "least confident, behind those": rows(Strategy.UNCERTAIN, after=behind),
        "least confident, of a common label": rows(Strategy.UNCERTAIN, label="joy"),
        "least confident, of a rare label": rows(Strategy.UNCERTAIN, label="rare"),
        "at random": rows(Strategy.RANDOM),
        "at random, 999 rows skipped": rows(Strategy.RANDOM, skipped=some),
        "of each label": rows(Strategy.STRATIFIED),
        "labels of the job": lambda: labels_of(store, 1),
        "accuracy": lambda: audit(store, 1),
        "current_labels, counted": lambda: _count(store),
    }


def _count(store: Store) -> int:
    with store.read() as connection:
        return int(
            connection.exec_driver_sql(
                "SELECT count(*) FROM current_labels WHERE corrected"
            ).scalar_one()
        )


@contextmanager
def plans(store: Store) -> Iterator[list[str]]:
    """Collect the plans of the statements that run in the block."""
    found: list[str] = []

    def explain(
        connection: Connection, cursor: Any, statement: str, parameters: Any, *_: Any
    ) -> None:
        if statement.lstrip().startswith(("SELECT", "WITH")):
            word = "EXPLAIN QUERY PLAN" if store.dialect == "sqlite" else "EXPLAIN"
            own = cursor.connection.cursor()
            own.execute(f"{word} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in own.fetchall()))

    event.listen(store.engine, "before_cursor_execute", explain)
    try:
        yield found
    finally:
        event.remove(store.engine, "before_cursor_execute", explain)


def measure(store: Store, rounds: int, with_plans: bool) -> None:
    """Print a line for each question, and its plans if they are wanted."""
    for name, ask in asked(store).items():
        ask()
        seconds = []
        for _ in range(rounds):
            started = time.perf_counter()
            ask()
            seconds.append(time.perf_counter() - started)
        print(
            f"{store.dialect:12}{name:40}{1000 * statistics.median(seconds):10,.1f} ms", flush=True
        )
        if with_plans:
            with plans(store) as found:
                ask()
            print(*dict.fromkeys(found), sep="\n--\n")


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--corrected", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--plans", action="store_true")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="labelstream-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        (folder / "postgres").mkdir()
        with postgres_database(folder / "postgres", durable=True) as url:
            for address in (f"sqlite:///{folder / 'store.db'}", url):
                store = Store(address)
                upgrade(store)
                fill(store, given.rows, given.corrected)
                measure(store, given.rounds, given.plans)
                store.close()


if __name__ == "__main__":
    main()
