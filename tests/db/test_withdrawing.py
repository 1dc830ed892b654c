"""Taking corrections back: by one more entry, once, and of nobody else's, on both databases."""

from collections.abc import Callable
from datetime import timedelta
from functools import partial
from typing import Any

import pytest
from sqlalchemy import text

from db.clock import db_now
from db.corrections import NewCorrection, add_corrections, withdraw
from db.errors import UsageError
from db.ledger.stopping import purge
from db.registry.versions import add_version
from db.store import Store
from tests.db.at_once import at_once
from tests.db.labels import label_row
from tests.db.ledger_parts import begin, change, value
from tests.db.models import new_version


@pytest.fixture
def rows(store: Store) -> Store:
    """A job of five rows that are all joy."""
    add_version(store, new_version(labels=("anger", "joy", "fear")), who="me")
    begin(store)
    for row in range(1, 6):
        label_row(store, 1, row, "joy")
    return store


def say(store: Store, label: str, row: int = 1, who: str = "ann", **more: Any) -> int:
    return add_corrections(store, [NewCorrection(label, who, job=1, row=row, **more)]).added


def log(store: Store) -> list[tuple[Any, ...]]:
    with store.read() as connection:
        query = "SELECT id, row_number, label, annotator, strategy, at FROM corrections ORDER BY id"
        return [tuple(row) for row in connection.execute(text(query))]


def label(store: Store, row: int = 1) -> Any:
    return value(store, "SELECT label FROM current_labels WHERE row_number = :row", row=row)


def test_what_was_withdrawn_counts_no_more_and_the_log_only_grows(rows: Store) -> None:
    written: list[tuple[Any, ...]] = []
    steps: list[Callable[[], int]] = [
        lambda: say(rows, "anger", strategy="random"),
        lambda: withdraw(rows, 1, 1, "ann"),
        lambda: say(rows, "fear", strategy="search"),
        lambda: say(rows, "anger", who="bob"),
        lambda: withdraw(rows, 1, 1, "bob"),
    ]
    for step in steps:
        assert step()
        assert log(rows)[:-1] == written, "what stood there stands there"
        written = log(rows)
    ids = [entry[0] for entry in written]
    assert ids == sorted(set(ids))
    assert [entry[1:5] for entry in written] == [
        (1, "anger", "ann", "random"),
        (1, None, "ann", None),
        (1, "fear", "ann", "search"),
        (1, "anger", "bob", None),
        (1, None, "bob", None),
    ]
    assert label(rows) == "fear"
    assert withdraw(rows, 1, 1, "ann")
    assert label(rows) == "joy"


def test_withdrawing_nothing_or_twice_adds_nothing(rows: Store) -> None:
    assert withdraw(rows, 1, 1, "ann") is False
    say(rows, "anger", who="bob")
    assert withdraw(rows, 1, 1, "ann") is False
    assert withdraw(rows, 1, 1, "bob") is True
    assert withdraw(rows, 1, 1, "bob") is False
    assert len(log(rows)) == 2


def test_what_was_withdrawn_can_be_said_again(rows: Store) -> None:
    say(rows, "anger")
    withdraw(rows, 1, 1, "ann")
    assert say(rows, "anger") == 1
    assert label(rows) == "anger"
    assert withdraw(rows, 1, 1, "ann") is True
    assert label(rows) == "joy"


def test_the_same_answer_is_news_only_where_its_row_was_chosen_in_another_way(rows: Store) -> None:
    assert say(rows, "anger", strategy="uncertain") == 1
    assert say(rows, "anger", strategy="uncertain") == 0
    assert say(rows, "anger", strategy="random") == 1
    for known in ("uncertain", "random", None):
        assert say(rows, "anger", strategy=known) == 0
    withdraw(rows, 1, 1, "ann")
    assert say(rows, "anger", strategy="random") == 1


def test_a_strategy_that_is_none_is_refused(rows: Store) -> None:
    given = NewCorrection("anger", "ann", job=1, row=1, strategy="guessed")
    [refused] = add_corrections(rows, [given]).refused
    assert refused.reason == (
        "rows are not chosen by 'guessed', but by uncertain, random, stratified, search"
    )
    assert log(rows) == []


def test_what_cannot_be_withdrawn_is_one_line(rows: Store) -> None:
    for job, row, who, message in (
        (1, 9, "ann", "there is no labelled row 9 in job 1"),
        (2, 1, "ann", "there is no labelled row 1 in job 2"),
        (1, 1, " ", "the annotator's name is blank"),
        (1, 1, "a\x00", "cannot be stored"),
    ):
        with pytest.raises(UsageError, match=message):
            withdraw(rows, job, row, who)


def test_a_withdrawal_counts_though_the_clock_was_set_back(rows: Store) -> None:
    say(rows, "anger")
    with rows.write() as connection:
        connection.execute(text("UPDATE corrections SET at = :at"), {"at": later(rows)})
    assert withdraw(rows, 1, 1, "ann")
    assert label(rows) == "joy"
    assert withdraw(rows, 1, 1, "ann") is False


def later(store: Store) -> str:
    with store.read() as connection:
        moment = connection.scalar(db_now().select())
    assert moment is not None
    return f"{moment + timedelta(hours=1):%Y-%m-%d %H:%M:%S.%f}"


def test_of_many_withdrawals_at_once_one_is_entered(rows: Store) -> None:
    say(rows, "anger")
    outcomes = at_once([partial(withdraw, rows, 1, 1, "ann") for _ in range(6)])
    assert sorted(outcomes) == [False] * 5 + [True], outcomes
    assert len(log(rows)) == 2


def test_reviewers_at_once_keep_out_of_each_others_way(rows: Store) -> None:
    """Each says something of every row and takes half of it back; nobody's word is lost."""

    def review(who: str, last: str) -> None:
        for row in range(1, 6):
            assert say(rows, "fear", row, who) == 1
            if row % 2:
                assert withdraw(rows, 1, row, who)
            else:
                assert say(rows, last, row, who) == 1

    people = {"ann": "anger", "bob": "joy", "cy": "anger"}
    outcomes = at_once([partial(review, who, last) for who, last in people.items()])
    assert outcomes == [None] * 3
    assert len(log(rows)) == 3 * 5 * 2
    for who, last in people.items():
        own = [(entry[1], entry[2]) for entry in log(rows) if entry[3] == who]
        assert own == [
            pair
            for row in range(1, 6)
            for pair in ((row, "fear"), (row, None if row % 2 else last))
        ]
    assert [label(rows, row) for row in (1, 3, 5)] == ["joy"] * 3
    newest = {
        entry[1]: entry[2] for entry in sorted(log(rows), key=lambda each: (each[5], each[0]))
    }
    assert [label(rows, row) for row in (2, 4)] == [newest[2], newest[4]]


def test_a_row_that_is_purged_meanwhile_is_told(rows: Store) -> None:
    say(rows, "anger")
    change(rows, "UPDATE jobs SET state = 'done'")
    purge(rows, 1)
    with pytest.raises(UsageError, match="no labelled row 1"):
        withdraw(rows, 1, 1, "ann")
