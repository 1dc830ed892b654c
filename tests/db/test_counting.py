"""Which corrections count: everything that reads them follows one rule, on both databases."""

import random
from dataclasses import dataclass
from typing import Any

import pytest
from sqlalchemy import select, text

from db.corrections import newest_by_text
from db.corrections.counting import is_answered, is_corrected
from db.registry.versions import add_version
from db.schema import LabeledText
from db.store import Store
from tests.db.labels import correct, label_rows
from tests.db.ledger_parts import begin
from tests.db.models import new_version
from training.review.names import Strategy
from training.review.picking import next_rows
from training.store_data import StoreRows, read_store_rows

LABELS = ("anger", "joy", "fear")
ROWS = 25


@pytest.fixture
def rows(store: Store) -> Store:
    """A job of rows that are all joy."""
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    label_rows(store, 1, [f"text {number}" for number in range(1, ROWS + 1)], "joy")
    return store


@dataclass(frozen=True)
class Entry:
    row: int
    label: str | None
    minute: int
    who: str
    strategy: str | None


def newest_that_count(log: list[Entry]) -> dict[int, Entry]:
    """The rule in plain Python: of `log`, in the order of entering, the correction of each row."""
    opinions: dict[tuple[int, str], tuple[tuple[int, int], Entry]] = {}
    for place, entry in enumerate(log):
        key = (entry.row, entry.who)
        if key not in opinions or (entry.minute, place) > opinions[key][0]:
            opinions[key] = ((entry.minute, place), entry)
    found: dict[int, Entry] = {}
    for _, entry in sorted(opinions.values(), key=lambda each: each[0]):
        if entry.label is not None:
            found[entry.row] = entry
    return found


def answered(log: list[Entry], strategy: str) -> set[int]:
    """The rows for which somebody has answered under `strategy`, and not withdrawn it since."""
    ordered = sorted(enumerate(log), key=lambda each: (each[1].minute, each[0]))
    standing: set[tuple[int, str]] = set()
    for _, entry in ordered:
        if entry.label is None:
            standing.discard((entry.row, entry.who))
        elif entry.strategy == strategy:
            standing.add((entry.row, entry.who))
    return {row for row, _ in standing}


def current(store: Store) -> dict[int, Any]:
    with store.read() as connection:
        query = "SELECT row_number, label, annotator, corrected FROM current_labels"
        return {row.row_number: row for row in connection.execute(text(query))}


def test_view_training_and_review_follow_the_rule_whatever_was_entered(rows: Store) -> None:
    chance = random.Random(11)
    log: list[Entry] = []
    for _ in range(240):
        entry = Entry(
            chance.randint(1, ROWS),
            chance.choice([*LABELS, None]),
            chance.randint(1, 20),
            chance.choice(("ann", "bob", "cy")),
            chance.choice(("random", "search", None)),
        )
        log.append(entry)
        correct(rows, 1, entry.row, entry.label, entry.minute, entry.who, entry.strategy)
    expected = newest_that_count(log)
    assert 10 < len(expected) < ROWS, "some rows have no correction left"
    for number, row in current(rows).items():
        said = expected.get(number)
        assert bool(row.corrected) is (said is not None), number
        assert row.label == (said.label if said else "joy")
        assert row.annotator == (said.who if said else None)
    with rows.read() as connection:
        by_text = newest_by_text(connection, "emotion")
        corrected = connection.scalars(select(LabeledText.row_number).where(is_corrected()))
        at_random = connection.scalars(select(LabeledText.row_number).where(is_answered("random")))
        assert {each.text: each.label for each in by_text.values()} == {
            f"text {number}": entry.label for number, entry in expected.items()
        }
        assert set(corrected) == set(expected)
        assert set(at_random) == answered(log, "random")
    data = read_store_rows(StoreRows(1, corrected_only=True), rows)
    assert {(row.place, row.label) for row in data.rows} == {
        (number, entry.label) for number, entry in expected.items()
    }
    picked = next_rows(rows, 1, Strategy.UNCERTAIN, ROWS)
    assert {row.row for row in picked} == set(range(1, ROWS + 1)) - set(expected)


def test_a_withdrawal_takes_back_all_that_its_annotator_said_and_nothing_else(rows: Store) -> None:
    for minute, (label, who) in enumerate(
        [("anger", "ann"), ("fear", "bob"), ("fear", "ann"), (None, "ann")]
    ):
        correct(rows, 1, 1, label, minute, who)
    assert (current(rows)[1].label, current(rows)[1].annotator) == ("fear", "bob")
    correct(rows, 1, 1, None, 5, "bob")
    assert (current(rows)[1].label, bool(current(rows)[1].corrected)) == ("joy", False)
    correct(rows, 1, 1, "anger", 6, "ann")
    assert current(rows)[1].label == "anger"


def test_of_several_annotators_the_newest_counts_also_when_it_is_older_than_a_withdrawal(
    rows: Store,
) -> None:
    correct(rows, 1, 1, "anger", 1, "ann")
    correct(rows, 1, 1, "fear", 2, "bob")
    correct(rows, 1, 1, None, 3, "bob")
    assert (current(rows)[1].label, current(rows)[1].annotator) == ("anger", "ann")
