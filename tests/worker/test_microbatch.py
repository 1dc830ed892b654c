"""Packing: nobody is forgotten, nobody waits for ever, and the budget holds."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from worker.microbatch import WaitingRows

LENGTHS = st.lists(st.integers(0, 300), min_size=1, max_size=80)


def add(rows: WaitingRows, lengths: list[int], first: int = 0, at: float = 0.0) -> None:
    """Let rows wait at the places from `first` on."""
    rows.add(np.arange(first, first + len(lengths)), np.array(lengths, np.int64), at)


def waiting(lengths: list[int]) -> WaitingRows:
    rows = WaitingRows()
    add(rows, lengths)
    return rows


def take(rows: WaitingRows, budget: int) -> list[int]:
    return list(rows.take(budget))


@given(LENGTHS, st.integers(1, 1000))
def test_every_row_is_taken_once_within_the_budget_and_around_the_oldest(
    lengths: list[int], budget: int
) -> None:
    rows = waiting(lengths)
    left = set(range(len(lengths)))
    while len(rows):
        taken = take(rows, budget)
        assert min(left) in taken, "the oldest row is always among those taken"
        assert len(set(taken)) == len(taken)
        assert left.issuperset(taken)
        padded_tokens = len(taken) * max(lengths[place] for place in taken)
        assert len(taken) == 1 or padded_tokens <= budget
        left.difference_update(taken)
    assert not left
    assert take(rows, budget) == []


@given(LENGTHS, st.integers(1, 1000))
def test_a_row_that_stays_next_to_those_that_run_would_not_have_fit(
    lengths: list[int], budget: int
) -> None:
    taken = [lengths[place] for place in take(waiting(lengths), budget)]
    stayed = sorted(lengths)
    for length in taken:
        stayed.remove(length)
    shorter = [length for length in stayed if length <= max(taken)]
    assert not shorter or (len(taken) + 1) * max([*taken, 1]) > budget


@given(LENGTHS, st.integers(1, 1000))
def test_no_row_that_stays_is_nearer_in_length_than_one_that_runs(
    lengths: list[int], budget: int
) -> None:
    taken = [lengths[place] for place in take(waiting(lengths), budget)]
    stayed = lengths.copy()
    for length in taken:
        stayed.remove(length)
    assert not [length for length in stayed if min(taken) < length < max(taken)]


def test_a_long_row_does_not_starve_while_short_ones_keep_coming() -> None:
    rows = waiting([5, 5, 500])
    for turn in range(1, 4):
        taken = take(rows, 20)
        if 2 in taken:
            assert taken == [2], "over the budget it runs alone"
            break
        add(rows, [5] * 4, first=4 * turn)
    assert turn == 2, "two older rows come first, in one turn"


def test_rows_of_the_same_length_fill_the_budget_in_the_order_of_their_coming() -> None:
    rows = waiting([10] * 100)
    assert take(rows, 640) == list(range(64))
    assert take(rows, 640) == list(range(64, 100))


def test_a_shorter_neighbour_runs_along_where_a_longer_does_not_fit() -> None:
    assert sorted(take(waiting([10, 11, 2]), 20)) == [0, 2]


def test_withdrawn_rows_are_gone_and_others_stay() -> None:
    rows = WaitingRows()
    add(rows, [3, 3, 3], first=10)
    add(rows, [3, 3], first=13)
    assert rows.withdraw(10, 13) == 3
    assert rows.withdraw(10, 13) == 0
    assert take(rows, 100) == [13, 14]


def test_the_oldest_is_known_as_rows_come_and_go() -> None:
    rows = WaitingRows()
    assert rows.oldest_at == float("inf")
    add(rows, [9, 2], first=0, at=7.5)
    add(rows, [9, 100], first=2, at=8.5)
    add(rows, [], first=4, at=9.0)
    assert rows.oldest_at == 7.5
    assert take(rows, 20) == [0, 2], "the second row of the first time stays"
    assert rows.oldest_at == 7.5
    assert take(rows, 5) == [1]
    assert rows.oldest_at == 8.5
    assert take(rows, 5) == [3]
    assert rows.oldest_at == float("inf")
    add(rows, [4], first=4, at=11.0)
    assert rows.oldest_at == 11.0
