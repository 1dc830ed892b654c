"""Totals are sums over chunks, counted by hand here."""

from db.ledger.totals import GrowingTotals, job_totals, label_mix, reject_reasons, truncated_rows
from db.store import Store
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, result_of


def test_totals_of_a_job_in_the_middle(store: Store) -> None:
    writer = begin(store)
    first, second, third = add(writer, 1, 5, rejected=1), add(writer, 7, 4), add(writer, 11, 2)
    add(writer, 13, 0, rejected=3)
    one, two = held(store, writer.job, first), held(store, writer.job, second)
    assert close_chunk(store, one, result_of(one, "joy", rejected=[2]))
    assert close_chunk(store, two, result_of(two, "anger", version=2))
    held(store, writer.job, third)
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected) == (15, 8, 5)
    assert (totals.open_chunks, totals.waiting) == (1, 2)
    assert totals.model_versions == {"1": 4, "2": 4}
    assert totals.engines == ("constant",)
    assert (totals.tokens, totals.busy_seconds) == (200, 1.0)
    assert totals.last_done_at is not None
    assert label_mix(store, writer.job) == {"anger": 4, "joy": 4}
    assert reject_reasons(store, writer.job) == {"empty text": 4, "logits not finite": 1}
    assert truncated_rows(store, writer.job) == 0


def test_a_job_without_chunks_has_totals_of_nothing(store: Store) -> None:
    writer = begin(store)
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.rejected, totals.waiting) == (0, 0, 0, 0)
    assert (totals.model_versions, totals.engines, totals.last_done_at) == ({}, (), None)


def test_the_rows_of_a_chunk_that_was_split_count_once(store: Store) -> None:
    writer = begin(store)
    add(writer, 1, 4), add(writer, 5, 2), add(writer, 7, 2)
    change(store, "UPDATE chunks SET state = 'split', payload = NULL WHERE number = 1")
    change(store, "UPDATE chunks SET parent_number = 1 WHERE number > 1")
    for number in (2, 3):
        taken = held(store, writer.job, number)
        assert close_chunk(store, taken, result_of(taken))
    totals = job_totals(store, writer.job)
    assert (totals.rows, totals.labeled, totals.open_chunks) == (4, 4, 0)


def test_one_job_is_not_counted_in_another(store: Store) -> None:
    one, other = begin(store), begin(store, identity="another")
    taken = held(store, one.job, add(one, 1, 3, rejected=1))
    assert close_chunk(store, taken, result_of(taken))
    assert job_totals(store, other.job).rows == 0
    assert label_mix(store, other.job) == {}
    assert reject_reasons(store, other.job) == {}


def test_counts_that_grow_are_those_of_the_job_at_every_moment(store: Store) -> None:
    writer = begin(store)
    growing = GrowingTotals(store, writer.job)
    assert growing.now() == job_totals(store, writer.job)
    taken = {}
    row = 1
    # Entered and closed out of order, some of rejects alone, one divided.
    for step in ("+", "+", "-2", "+", "0", "-1", "+", "/4", "+", "-3", "-7", "+", "-8", "-9", "-6"):
        number = int(step[1:] or 0)
        if step == "+":
            entered = add(writer, row, 3, rejected=1)
            taken[entered] = held(store, writer.job, entered)
            row += 4
        elif step == "0":
            add(writer, row, 0, rejected=2)
            row += 2
        elif step == "/4":
            # The parts of the fifth chunk.
            change(store, "UPDATE chunks SET state = 'split', payload = NULL WHERE number = 5")
            for _ in range(2):
                part = add(writer, row, 1)
                taken[part] = held(store, writer.job, part)
                change(store, f"UPDATE chunks SET parent_number = 5 WHERE number = {part}")
                row += 1
        else:
            result = result_of(taken[number], version=1 + number % 2)
            assert close_chunk(store, taken[number], result)
        assert growing.now() == job_totals(store, writer.job), step
        assert growing.now() == job_totals(store, writer.job), "and at a second look"


def test_what_is_closed_for_good_is_counted_once(store: Store) -> None:
    writer = begin(store)
    growing = GrowingTotals(store, writer.job)
    for number in (1, 2, 3):
        add(writer, 4 * number, 2)
    for number in (1, 3):
        taken = held(store, writer.job, number)
        assert close_chunk(store, taken, result_of(taken))
    assert growing.now().labeled == 4
    # Nobody does this: it shows which chunks are looked at again.
    change(store, "UPDATE chunks SET labeled = 100")
    assert growing.now().labeled == 2 + 100 + 100
