"""Packing: nobody is forgotten, nobody waits for ever, and the budget holds."""

from hypothesis import given
from hypothesis import strategies as st

from worker.microbatch import WaitingRow, WaitingRows

LENGTHS = st.lists(st.integers(0, 300), min_size=1, max_size=80)


def waiting(lengths: list[int], submission: int = 0) -> list[WaitingRow]:
    return [
        WaitingRow(submission, index, length, float(index)) for index, length in enumerate(lengths)
    ]


def padded_tokens(rows: list[WaitingRow]) -> int:
    return len(rows) * max(max(row.length for row in rows), 1)


@given(LENGTHS, st.integers(1, 1000))
def test_every_row_is_taken_once_within_the_budget_and_around_the_oldest(
    lengths: list[int], budget: int
) -> None:
    rows = WaitingRows()
    rows.add(waiting(lengths))
    left = set(range(len(lengths)))
    while len(rows):
        taken = rows.take(budget)
        indexes = [row.index for row in taken]
        assert min(left) in indexes, "the oldest row is always among those taken"
        assert len(set(indexes)) == len(indexes)
        assert left.issuperset(indexes)
        assert len(taken) == 1 or padded_tokens(taken) <= budget
        left.difference_update(indexes)
    assert not left
    assert rows.take(budget) == []


@given(LENGTHS, st.integers(1, 1000))
def test_no_row_that_stays_is_nearer_in_length_than_one_that_runs(
    lengths: list[int], budget: int
) -> None:
    rows = WaitingRows()
    rows.add(waiting(lengths))
    taken = [row.length for row in rows.take(budget)]
    stayed = lengths.copy()
    for length in taken:
        stayed.remove(length)
    assert not [length for length in stayed if min(taken) < length < max(taken)]


def test_a_long_row_does_not_starve_while_short_ones_keep_coming() -> None:
    rows = WaitingRows()
    rows.add(waiting([5, 5, 500]))
    turns = 0
    while True:
        turns += 1
        taken = rows.take(20)
        if any(row.length == 500 for row in taken):
            assert len(taken) == 1, "over the budget it runs alone"
            break
        rows.add(
            [WaitingRow(turns, index, 5, 100.0 + turns) for index in range(4)],
        )
        assert turns < 3, "two older rows come first, in one turn"
    assert turns == 2


def test_rows_of_the_same_length_fill_the_budget() -> None:
    rows = WaitingRows()
    rows.add(waiting([10] * 100))
    assert len(rows.take(640)) == 64
    assert len(rows.take(640)) == 36


def test_a_shorter_neighbour_runs_along_where_a_longer_does_not_fit() -> None:
    rows = WaitingRows()
    rows.add(waiting([10, 11, 2]))
    assert sorted(row.length for row in rows.take(20)) == [2, 10]


def test_withdrawn_rows_are_gone_and_others_stay() -> None:
    rows = WaitingRows()
    rows.add(waiting([3, 3, 3], submission=1))
    rows.add(waiting([3, 3], submission=2))
    assert rows.withdraw(1) == 3
    assert rows.withdraw(1) == 0
    assert [(row.submission, row.index) for row in rows.take(100)] == [(2, 0), (2, 1)]


def test_the_oldest_is_known() -> None:
    rows = WaitingRows()
    assert rows.oldest_at == float("inf")
    rows.add([WaitingRow(1, 0, 9, 7.5), WaitingRow(1, 1, 2, 8.5)])
    assert rows.oldest_at == 7.5
