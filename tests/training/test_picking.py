"""The next rows for a reviewer: least confident first, by chance, of a label; on both databases."""

import itertools
import random
from collections import Counter
from typing import Any

import pytest

from db.audits import audit
from db.corrections import NewCorrection, add_corrections, withdraw
from db.errors import UsageError
from db.registry.versions import add_version
from db.store import Store
from tests.db.closings import close_chunk
from tests.db.labels import correct, label_row
from tests.db.ledger_parts import add, begin, change, held, result_of
from tests.db.models import new_version
from training.review import drawing
from training.review.names import Strategy
from training.review.picking import PickedRow, labels_of, next_rows

LABELS = ("anger", "joy", "fear")


@pytest.fixture
def rows(store: Store) -> Store:
    """Two hundred rows of job 1, four of each confidence: every twentieth fear, else joy, anger."""
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    for number in range(1, 201):
        label = "fear" if number % 20 == 0 else LABELS[number % 2]
        label_row(store, 1, number, label, confidence=(number * 37 % 50) / 50)
    return store


def expected_order() -> list[int]:
    return sorted(range(1, 201), key=lambda number: ((number * 37 % 50) / 50, number))


def numbers(rows: list[PickedRow]) -> list[int]:
    return [row.row for row in rows]


def test_pages_of_the_least_confident_leave_nothing_out_and_give_nothing_twice(
    rows: Store,
) -> None:
    found: list[int] = []
    after = None
    while page := next_rows(rows, 1, Strategy.UNCERTAIN, 7, after=after):
        found += numbers(page)
        after = (page[-1].confidence, page[-1].row)
    assert found == expected_order()


def test_the_least_confident_of_a_label(rows: Store) -> None:
    fear = [number for number in expected_order() if number % 20 == 0]
    assert numbers(next_rows(rows, 1, Strategy.UNCERTAIN, 4, label="fear")) == fear[:4]
    assert numbers(next_rows(rows, 1, Strategy.UNCERTAIN, 99, label="fear")) == fear
    assert next_rows(rows, 1, Strategy.UNCERTAIN, 4, label="sadness") == []


def test_what_was_skipped_is_passed_over_however_much_it_is(rows: Store) -> None:
    order = expected_order()
    for skipped in (set(order[:3]), set(order[1:180:2]), set(order[:190])):
        left = [number for number in order if number not in skipped]
        assert numbers(next_rows(rows, 1, Strategy.UNCERTAIN, 5, skipped=skipped)) == left[:5]
        for strategy in (Strategy.RANDOM, Strategy.STRATIFIED):
            found = numbers(next_rows(rows, 1, strategy, 300, skipped=skipped, seed=1))
            assert sorted(found) == sorted(left)


def test_skipped_rows_of_more_than_one_page_are_passed_over(
    rows: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("training.review.picking.AT_ONCE", 5)
    order = expected_order()
    found = next_rows(rows, 1, Strategy.UNCERTAIN, 5, skipped=set(order[:100]))
    assert numbers(found) == order[100:105]


def test_a_corrected_row_is_open_again_when_its_correction_is_withdrawn(rows: Store) -> None:
    first, second = expected_order()[:2]
    correct(rows, 1, first, "fear", 1, "ann")
    assert numbers(next_rows(rows, 1, Strategy.UNCERTAIN, 1)) == [second]
    withdraw(rows, 1, first, "ann")
    assert numbers(next_rows(rows, 1, Strategy.UNCERTAIN, 1)) == [first]


def test_an_audit_is_of_rows_that_were_corrected_otherwise_too(rows: Store) -> None:
    for number in range(1, 101):
        correct(rows, 1, number, "fear", 1, "ann", "uncertain")
    correct(rows, 1, 150, "joy", 1, "ann", "random")
    correct(rows, 1, 151, "joy", 1, "ann", "random")
    correct(rows, 1, 151, None, 2, "ann")
    found = numbers(next_rows(rows, 1, Strategy.RANDOM, 300))
    assert sorted(found) == [number for number in range(1, 201) if number != 150]
    stratified = numbers(next_rows(rows, 1, Strategy.STRATIFIED, 300))
    assert sorted(stratified) == [number for number in range(101, 201) if number != 150]


@pytest.mark.parametrize("asked", [2_000, 40, 0])
def test_each_open_row_is_drawn_as_often_as_any_other(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch, asked: int
) -> None:
    """By numbers alone, by numbers and then a list of the rest, and by a list alone."""
    monkeypatch.setattr(drawing, "_MOST_ASKED", asked)
    monkeypatch.setattr(drawing, "_ASKED_FOR_EACH", 0)
    monkeypatch.setattr(drawing, "_SHARE_ASKED", 1)
    add_version(sqlite_store, new_version(labels=LABELS), who="me")
    begin(sqlite_store)
    there = [number for number in range(1, 181) if number % 3 == 0]
    for number in there:
        label_row(sqlite_store, 1, number, "joy" if number % 2 else "fear")
    for number in there[:20]:
        correct(sqlite_store, 1, number, "joy", 1, "ann", "random")
    open_rows = set(there[20:])
    seen: Counter[int] = Counter()
    pairs: Counter[tuple[int, int]] = Counter()
    for seed in range(500):
        found = numbers(next_rows(sqlite_store, 1, Strategy.RANDOM, 8, seed=seed))
        assert len(set(found)) == 8
        seen.update(found)
        pairs.update(itertools.combinations(sorted(found), 2))
    assert set(seen) == open_rows
    # A hundred times each, and each pair as often as any other: by chi squared, at p = 0.0001.
    assert sum((times - 100) ** 2 / 100 for times in seen.values()) < 39 + 5 * (2 * 39) ** 0.5
    each = 500 * 28 / 780
    spread = sum((times - each) ** 2 / each for times in pairs.values())
    assert spread + each * (780 - len(pairs)) < 779 + 5 * (2 * 779) ** 0.5


def test_the_same_seed_goes_on_with_the_same_sample(rows: Store) -> None:
    whole = numbers(next_rows(rows, 1, Strategy.RANDOM, 12, seed=5))
    first = numbers(next_rows(rows, 1, Strategy.RANDOM, 5, seed=5))
    assert first == whole[:5]
    for number in first:
        correct(rows, 1, number, "joy", 1, strategy="random")
    assert numbers(next_rows(rows, 1, Strategy.RANDOM, 7, seed=5)) == whole[5:]


def test_an_audit_beside_work_on_the_uncertain_tells_the_models_accuracy(rows: Store) -> None:
    """The worst rows are corrected first; the sample is none the better or worse for that."""
    chance = random.Random(9)
    truth = {number: "anger" if number % 4 == 0 else LABELS[number % 2] for number in range(1, 201)}
    for row in next_rows(rows, 1, Strategy.UNCERTAIN, 60):
        correct(rows, 1, row.row, truth[row.row], 1, "ann", "uncertain")
    everything = next_rows(rows, 1, Strategy.RANDOM, 200, seed=1)
    accuracy = sum(row.label == truth[row.row] for row in everything) / 200
    shares = []
    for _ in range(300):
        found = next_rows(rows, 1, Strategy.RANDOM, 30, seed=chance.getrandbits(32))
        shares.append(sum(row.label == truth[row.row] for row in found) / 30)
    # The mean of 300 samples, whose standard deviation is a seventeenth of one sample's.
    assert abs(sum(shares) / 300 - accuracy) < 4 * (0.25 / 30 / 300) ** 0.5
    given = [
        NewCorrection(truth[row.row], "bob", job=1, row=row.row, strategy="random", place=row.row)
        for row in everything
    ]
    add_corrections(rows, given)
    assert audit(rows, 1).accuracy.share == pytest.approx(accuracy)


def test_a_random_sample_of_one_label_is_refused(rows: Store) -> None:
    with pytest.raises(UsageError, match="a random audit is of all labels"):
        next_rows(rows, 1, Strategy.RANDOM, 3, label="joy")
    with pytest.raises(UsageError, match="job 7"):
        next_rows(rows, 7, Strategy.UNCERTAIN, 3)


def test_of_each_label_and_of_one(rows: Store) -> None:
    found = next_rows(rows, 1, Strategy.STRATIFIED, 9, seed=2)
    assert Counter(row.label for row in found) == {"joy": 3, "anger": 3, "fear": 3}
    fear = next_rows(rows, 1, Strategy.STRATIFIED, 50, label="fear")
    assert sorted(numbers(fear)) == list(range(20, 201, 20))


def test_a_row_that_somebody_answers_meanwhile_is_left_out(
    postgres_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = postgres_store
    add_version(store, new_version(labels=LABELS), who="me")
    begin(store)
    for number in range(1, 6):
        label_row(store, 1, number, "joy")

    def drawn_and_answered(*arguments: Any) -> list[int]:
        found = drawing.any_rows(*arguments)
        correct(store, 1, 3, "joy", 1, strategy="random")
        return found

    monkeypatch.setattr("training.review.picking.any_rows", drawn_and_answered)
    assert sorted(numbers(next_rows(store, 1, Strategy.RANDOM, 5))) == [1, 2, 4, 5]


def test_the_labels_are_those_of_the_versions_that_labelled_chunks_of_the_job(store: Store) -> None:
    for labels in (("anger", "joy"), ("joy", "fear"), ("sadness", "joy")):
        add_version(store, new_version(labels=labels), who="me")
    writer = begin(store)
    for first in (1, 3):
        taken = held(store, writer.job, add(writer, first, 2))
        assert close_chunk(store, taken, result_of(taken))
    change(store, "UPDATE chunks SET model_version = number WHERE job_id = 1")
    assert labels_of(store, 1) == ["anger", "joy", "fear"]
