"""The final count finds what it is there to find: each difference is made by hand, and named."""

import pytest

from db.store import Store
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, result_of
from tests.faults.counting import SourceRow, differences

#: Six rows in two chunks; the sixth has no text.
SOURCE = [SourceRow(f"id-{n}", f"text {n}") for n in range(1, 6)] + [SourceRow("id-6", "")]


@pytest.fixture
def counted_store(sqlite_store: Store) -> Store:
    """A store whose job 1 did everything right."""
    writer = begin(sqlite_store)
    for first, count, rejected in ((1, 3, 0), (4, 2, 1)):
        taken = held(sqlite_store, writer.job, add(writer, first, count, rejected))
        assert close_chunk(sqlite_store, taken, result_of(taken))
    change(sqlite_store, "UPDATE jobs SET state = 'done'")
    return sqlite_store


def found(store: Store) -> list[str]:
    return differences(store, [1], SOURCE, lambda text, label: label == "joy", {1}, in_order=True)


def test_where_all_is_right_nothing_is_found(counted_store: Store) -> None:
    assert found(counted_store) == []


@pytest.mark.parametrize(
    ("damage", "says"),
    [
        ("DELETE FROM labeled_texts WHERE row_number = 2", "1 rows missing, such as id-2"),
        (
            "UPDATE labeled_texts SET external_id = 'id-1', text = 'text 1' WHERE row_number = 2",
            "1 rows there twice, such as id-1",
        ),
        (
            "UPDATE labeled_texts SET external_id = 'id-7' WHERE row_number = 2",
            "1 rows that nobody sent, such as id-7",
        ),
        (
            "UPDATE labeled_texts SET text = 'text 3' WHERE row_number = 2",
            "1 rows with another's text, such as id-2",
        ),
        (
            "UPDATE labeled_texts SET label = 'fear' WHERE row_number = 5",
            "1 rows labelled wrongly, such as id-5",
        ),
        (
            "UPDATE labeled_texts SET model_version = 2 WHERE row_number = 5",
            "1 rows of a version not among [1], such as id-5",
        ),
        (
            "UPDATE labeled_texts SET row_number = 9 WHERE row_number = 5",
            "1 rows with another's number, such as id-5",
        ),
        (
            "UPDATE rejects SET row_number = 5",
            "1 rows in two places, such as (1, 5)",
        ),
        ("DELETE FROM rejects", "0 rows rejected, not 1"),
        ("UPDATE jobs SET state = 'running'", "job 1 is running"),
        (
            "UPDATE chunks SET labeled = 4 WHERE number = 1",
            (
                "the chunks say rows, labelled, rejected, open, payloads = (6, 6, 1, 0, 0), "
                "not (6, 5, 1, 0, 0)"
            ),
        ),
        (
            "UPDATE chunks SET model_version = 2 WHERE number = 1",
            "by version the chunks say [(1, 2), (2, 3)], and the rows [(1, 5)]",
        ),
    ],
)
def test_each_difference_is_found_and_named(counted_store: Store, damage: str, says: str) -> None:
    change(counted_store, damage)
    assert says in found(counted_store)
