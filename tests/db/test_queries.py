"""The six queries of `examples/queries` say the same on both databases, counted by hand."""

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, text

from db.registry.versions import add_version
from db.schema import Reject
from db.store import Store
from tests.db.labels import label_row
from tests.db.ledger_parts import add, begin, change
from tests.db.models import new_version

QUERIES = Path(__file__).parents[2] / "examples/queries"

#: Row, id, label, confidence and minutes after noon of the first job's rows.
ROWS = [
    (1, "t1", "joy", 0.9, 0),
    (2, "t2", "joy", 0.8, 0),
    (3, "t3", "anger", 0.4, 1),
    (4, "t4", "joy", 0.7, 719),
    (5, "t5", "anger", 0.6, 721),
    (6, "t6", "fear", 0.4, 721),
]

Ask = Callable[..., list[Any]]


@pytest.fixture
def ask(store: Store) -> Ask:
    add_version(store, new_version(labels=("anger", "fear", "joy")), who="me")
    first, second = begin(store, identity="first"), begin(store, identity="second")
    begin(store, identity="dry run", hidden=True)
    for row, external_id, label, confidence, minute in ROWS:
        label_row(store, 1, row, label, minute, external_id=external_id, confidence=confidence)
    label_row(store, 2, 1, "joy", 721, external_id="t1", model_version=2)
    for writer, row in ((first, 1), (first, 5), (second, 1)):
        add(writer, row, 4)
    change(store, "UPDATE chunks SET labeled = 3, busy_seconds = 0.25 WHERE job_id = 1")
    rejects = [(7, "empty text"), (8, "too few fields: 1 of 2"), (9, "empty text")]
    with store.write() as connection:
        for row, reason in rejects:
            connection.execute(insert(Reject).values(job_id=1, row_number=row, reason=reason))
        connection.execute(insert(Reject).values(job_id=2, row_number=2, reason="empty text"))
        connection.exec_driver_sql("CREATE TABLE customers (tweet_id TEXT, region TEXT)")
        connection.exec_driver_sql(
            "INSERT INTO customers VALUES ('t1', 'north'), ('t2', 'north'), ('t3', 'north'),"
            " ('t5', 'south'), ('t9', 'west')"
        )

    def run(name: str, **parameters: int) -> list[Any]:
        query = (QUERIES / f"{name}.sql").read_text()
        with store.read() as connection:
            rows = connection.execute(text(query), parameters).all()
        return [tuple(plain(value) for value in row) for row in rows]

    return run


def plain(value: Any) -> Any:
    """Return exact decimals, which PostgreSQL gives, as the floats that SQLite gives."""
    return float(value) if isinstance(value, Decimal) else value


def test_there_are_six_queries() -> None:
    names = {path.stem for path in QUERIES.glob("*.sql")}
    assert names == {
        "label_mix",
        "labels_per_day",
        "least_confident",
        "rejects_by_reason",
        "rows_per_second",
        "share_by_external_id",
    }


def test_the_label_mix_of_a_job(ask: Ask) -> None:
    assert ask("label_mix", job=1) == [
        ("joy", 3, 50.0, 0.8),
        ("anger", 2, 33.3, 0.5),
        ("fear", 1, 16.7, 0.4),
    ]


def test_the_least_confident_rows_come_first(ask: Ask) -> None:
    rows = ask("least_confident", job=1)
    assert [row[0] for row in rows] == [3, 6, 5, 4, 2, 1]
    assert rows[0] == (3, "t3", "anger", 0.4, "text 1 3")


def test_labels_per_day_and_version(ask: Ask) -> None:
    assert ask("labels_per_day") == [
        ("2026-01-31", "emotion", 1, "anger", 1),
        ("2026-01-31", "emotion", 1, "joy", 3),
        ("2026-02-01", "emotion", 1, "anger", 1),
        ("2026-02-01", "emotion", 1, "fear", 1),
        ("2026-02-01", "emotion", 2, "joy", 1),
    ]


def test_the_share_of_a_label_by_a_table_of_ones_own(ask: Ask) -> None:
    assert ask("share_by_external_id", job=1) == [("south", 1, 100.0), ("north", 3, 33.3)]


def test_rejects_by_reason(ask: Ask) -> None:
    assert ask("rejects_by_reason", job=1) == [
        ("empty text", 2, 7),
        ("too few fields: 1 of 2", 1, 8),
    ]


def test_rows_per_second_of_each_job(ask: Ask) -> None:
    assert ask("rows_per_second") == [
        (1, "tweets.csv", 6, 0.5, 12.0),
        (2, "tweets.csv", 0, None, None),
    ]
