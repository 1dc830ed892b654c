"""What a reviewer waits for: the next rows and current labels, without a look at every row."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Connection, event, text

from db.registry.versions import add_version
from db.store import Store
from tests.db.labels import label_rows
from tests.db.ledger_parts import begin, change
from tests.db.models import new_version
from training.review.names import Strategy
from training.review.picking import next_rows

ROWS = 8000


@pytest.fixture
def rows(store: Store) -> Store:
    """A job of rows of many confidences, of which two hundred were corrected.

    Analysed as PostgreSQL does by itself; SQLite knows nothing of its tables.
    """
    add_version(store, new_version(), who="me")
    begin(store)
    label_rows(store, 1, [f"text {number}" for number in range(1, ROWS + 1)], "joy")
    change(store, "UPDATE labeled_texts SET confidence = (row_number * 7919 % 8000) / 8000.0")
    change(
        store,
        "INSERT INTO corrections (job_id, row_number, label, annotator, at, strategy) "
        "SELECT 1, row_number, 'anger', 'ann', labeled_at, 'random' FROM labeled_texts "
        "WHERE row_number % 40 = 0",
    )
    if store.dialect == "postgresql":
        change(store, "ANALYZE")
    return store


@contextmanager
def plans(store: Store) -> Iterator[list[str]]:
    """Collect the plans of the statements that read labelled texts in the block."""
    found: list[str] = []
    word = "EXPLAIN QUERY PLAN" if store.dialect == "sqlite" else "EXPLAIN"

    def explain(_: Connection, cursor: Any, statement: str, parameters: Any, *__: Any) -> None:
        if "labeled_texts" in statement:
            own = cursor.connection.cursor()
            own.execute(f"{word} {statement}", parameters)
            found.append("\n".join(str(row[-1]) for row in own.fetchall()))

    event.listen(store.engine, "before_cursor_execute", explain)
    yield found
    event.remove(store.engine, "before_cursor_execute", explain)


@pytest.mark.parametrize("options", [{}, {"label": "joy"}, {"after": (0.25, 7)}])
def test_the_least_confident_come_in_the_order_of_the_index(
    rows: Store, options: dict[str, Any]
) -> None:
    with plans(rows) as found:
        assert len(next_rows(rows, 1, Strategy.UNCERTAIN, 10, **options)) == 10
    [plan] = found
    if rows.dialect == "sqlite":
        assert "labeled_texts USING INDEX ix_labeled_texts_job_confidence (job_id=?" in plan
        assert "USE TEMP B-TREE FOR ORDER BY" not in plan
    else:
        assert "Presorted Key: labeled_texts.confidence" in plan, plan
        assert re.search(r"Index Scan using ix_labeled_texts_job_confidence", plan), plan


def test_a_random_sample_finds_its_rows_by_their_numbers(rows: Store) -> None:
    with plans(rows) as found:
        assert len(next_rows(rows, 1, Strategy.RANDOM, 10, seed=1)) == 10
    assert len(found) <= 4, "the last number, the numbers drawn, and the rows themselves"
    for plan in found:
        assert "SCAN labeled_texts" not in plan
        assert "Seq Scan on labeled_texts" not in plan
        assert "row_number=?" in plan or "row_number = ANY" in plan or "_labeled_texts" in plan


def test_current_labels_looks_at_no_correction_for_each_row(rows: Store) -> None:
    word = "EXPLAIN QUERY PLAN" if rows.dialect == "sqlite" else "EXPLAIN"
    with rows.read() as connection:
        query = f"{word} SELECT count(*) FROM current_labels"
        plan = "\n".join(str(row[-1]) for row in connection.execute(text(query)))
    if rows.dialect == "sqlite":
        assert re.search(r"SEARCH c USING .*INDEX .*\(job_id=\? AND row_number=\?\)", plan), plan
    else:
        assert "Nested Loop Left Join" not in plan, plan
        assert re.search(r"Hash (Left|Right) Join", plan), plan
