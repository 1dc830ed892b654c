"""What the pages show is what the tables hold, on both databases."""

import math
import random
from datetime import timedelta

import pytest

from dashboard.figures.labels import LabelCounts, label_figures, labels_over_time
from dashboard.figures.rejects import rejected_rows
from dashboard.figures.rows import Order, RowFilter, every_row, find_rows
from dashboard.figures.stability import SHIFTED, shift, stability_index
from dashboard.saving import parquet_parts
from db.errors import UsageError
from db.ledger.stopping import purge
from db.store import Store
from tests.dashboard.large_job import fill
from tests.db.ledger_parts import add, begin, change, value

ROWS = 5000


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store, ROWS)
    return store


def test_labels_and_confidence_are_counted_as_the_table_has_them(filled: Store) -> None:
    found = LabelCounts(filled).of(1).figures
    assert found.rows == ROWS
    for label, rows in found.mix.items():
        query = "SELECT count(*) FROM labeled_texts WHERE label = :label"
        assert rows == value(filled, query, label=label)
    assert list(found.mix.values()) == sorted(found.mix.values(), reverse=True)
    at_the_top = "SELECT count(*) FROM labeled_texts WHERE confidence >= 0.95"
    assert found.confidence[-1] == value(filled, at_the_top)
    assert sum(found.confidence) == ROWS
    assert sum(found.confidence[:4]) == 0, "no row is below 0.2"


def test_a_confidence_of_one_is_in_the_last_bin(filled: Store) -> None:
    change(filled, "UPDATE labeled_texts SET confidence = 1.0")
    assert label_figures(filled, 1).confidence[-1] == ROWS


def test_the_labels_over_time_are_shares_and_in_the_order_of_time(filled: Store) -> None:
    found = labels_over_time(filled, 1)
    assert found is not None
    assert found.sampled_rows == ROWS, "a small job is looked at whole"
    assert list(found.times) == sorted(found.times)
    for place in range(len(found.times)):
        assert math.isclose(sum(shares[place] for shares in found.shares.values()), 1.0)
    # Of a large one a part: every label's share is about its share of all.
    change(
        filled, "UPDATE labeled_texts SET row_number = row_number + 1000000 WHERE row_number > 2500"
    )
    part = labels_over_time(filled, 1)
    assert part is not None
    assert 0 < part.sampled_rows < ROWS
    assert labels_over_time(filled, 2) is None


def test_where_no_row_that_is_looked_at_has_a_label_there_is_no_course(filled: Store) -> None:
    # Between the windows of so large a job nothing is looked at.
    change(filled, "DELETE FROM labeled_texts WHERE row_number > 1")
    change(filled, "UPDATE labeled_texts SET row_number = 1000000")
    assert LabelCounts(filled).of(1).figures.rows == 1
    assert labels_over_time(filled, 1) is None


def test_a_stretch_in_which_the_job_stood_still_is_a_gap_and_one_not_looked_at_is_none(
    filled: Store,
) -> None:
    whole = labels_over_time(filled, 1)
    assert whole is not None
    assert (len(whole.times), whole.after_gap) == (10, frozenset()), "two chunks a point"
    # The middle of the rows is not looked at, but their chunks are there.
    change(filled, "DELETE FROM labeled_texts WHERE row_number BETWEEN 2001 AND 3500")
    unseen = labels_over_time(filled, 1)
    assert unseen is not None
    assert unseen.after_gap == frozenset()
    change(filled, "DELETE FROM chunks WHERE number BETWEEN 9 AND 14")
    found = labels_over_time(filled, 1)
    assert found is not None
    assert found.times == unseen.times
    (after,) = found.after_gap
    stood_still = found.times[after] - found.times[after - 1]
    assert stood_still > 2 * found.step
    assert abs(found.times[1] - found.times[0] - found.step) < timedelta(milliseconds=1)


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("needle", [ROWS - 10]),
        ("NEEDLE IN", [ROWS - 10]),
        ("100%", []),
        ("tweet 1_", []),
        ("\\", []),
        ("'; --", []),
    ],
)
def test_rows_are_found_by_what_stands_in_them(filled: Store, words: str, found: list[int]) -> None:
    assert [row.row for row in find_rows(filled, RowFilter(1, words=words))] == found


@pytest.mark.parametrize("order", Order)
@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"label": "love"},
        {"at_least": 0.9},
        {"at_most": 0.25, "label": "joy"},
        {"only_unsure": True},
        {"words": "late again"},
    ],
    ids=str,
)
def test_pages_have_every_row_once_and_in_order(
    filled: Store, order: Order, asked: dict[str, object]
) -> None:
    change(filled, "UPDATE labeled_texts SET confidence = 0.5 WHERE row_number % 3 = 0")
    wanted = RowFilter(1, order=order, **asked)  # type: ignore[arg-type]
    rows = [row for page in every_row(filled, wanted, part_rows=170) for row in page]
    where = {
        "label": "label = :label",
        "at_least": "confidence >= :at_least",
        "at_most": "confidence <= :at_most",
        "only_unsure": "unsure = :only_unsure",
        "words": "text LIKE '%' || :words || '%'",
    }
    clauses = " AND ".join(["job_id = 1", *(where[name] for name in asked)])
    query = f"SELECT count(*) FROM labeled_texts WHERE {clauses}"
    assert len(rows) == value(filled, query, **asked)
    keys = [row.row if order is Order.ROW else (row.confidence, row.row) for row in rows]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)


def test_rejects_are_shown_by_reason_and_page_by_page(store: Store) -> None:
    job = begin(store)
    add(job, 1, 3, rejected=60)
    first = rejected_rows(store, job.job)
    assert [row.row for row in first] == list(range(4, 54))
    assert [row.row for row in rejected_rows(store, job.job, after=53)] == list(range(54, 64))
    assert rejected_rows(store, job.job, "another reason") == []
    assert {row.reason for row in first} == {"empty text"}


def test_the_stability_index_is_that_of_hand_and_0_for_the_same() -> None:
    assert stability_index([10, 20, 30], [10, 20, 30]) == 0
    assert stability_index([500, 1000, 1500], [10, 20, 30]) == pytest.approx(0, abs=0.001)
    # p = (100.5, 300.5) / 401, q = (200.5, 200.5) / 401.
    p, q = (100.5 / 401, 300.5 / 401), (0.5, 0.5)
    by_hand = (q[0] - p[0]) * math.log(q[0] / p[0]) + (q[1] - p[1]) * math.log(q[1] / p[1])
    assert stability_index([100, 300], [200, 200]) == pytest.approx(by_hand)
    assert stability_index([0, 0], [1, 2]) is None
    assert stability_index([1, 2], [0, 0]) is None
    shifted = stability_index([0, 100], [100, 0])
    assert shifted is not None
    assert shifted > 1


def test_of_a_long_text_the_table_shows_the_beginning_and_says_so(filled: Store) -> None:
    long = "é" * 501
    change(filled, "UPDATE labeled_texts SET text = :long WHERE row_number = 2", long=long)
    change(filled, "UPDATE labeled_texts SET text = :long WHERE row_number = 3", long=long[1:])
    change(filled, "UPDATE labeled_texts SET text = NULL WHERE row_number = 4")
    rows = find_rows(filled, RowFilter(1), limit=4)
    assert [row.cut for row in rows] == [False, True, False, False]
    assert rows[1].text == rows[2].text == long[1:]
    assert rows[3].text is None
    assert next(every_row(filled, RowFilter(1)))[1].text == long, "a file has all of it"


def test_a_part_of_a_file_has_no_more_characters_than_it_may_but_always_a_row(
    filled: Store,
) -> None:
    change(filled, "DELETE FROM labeled_texts WHERE row_number > 9")
    change(filled, "UPDATE labeled_texts SET text = 'xxxx', external_id = 'id'")
    change(filled, "UPDATE labeled_texts SET text = :long WHERE row_number = 5", long="x" * 100)
    parts = every_row(filled, RowFilter(1), part_rows=3, part_characters=12)
    assert [[row.row for row in part] for part in parts] == [[1, 2], [3, 4], [5], [6, 7], [8, 9]]
    parts = every_row(filled, RowFilter(1), part_rows=3, part_characters=1000)
    assert [len(part) for part in parts] == [3, 3, 3]


def test_a_job_that_is_purged_while_it_is_read_does_not_end_as_a_file(filled: Store) -> None:
    parts = every_row(filled, RowFilter(1), part_rows=1000)
    assert len(next(parts)) == 1000
    saved = parquet_parts(every_row(filled, RowFilter(1), part_rows=1000))
    got = next(saved)
    purge(filled, 1)
    with pytest.raises(UsageError, match="purged meanwhile"):
        list(parts)
    with pytest.raises(UsageError, match="purged meanwhile"):
        got += b"".join(saved)
    assert not got.endswith(b"PAR1"), "that is how a whole file ends"


def test_chance_alone_never_says_shifted() -> None:
    drawn = random.Random(7)
    for bins, rows in ((6, 20), (20, 20), (20, 200), (15, 1000), (20, 1000)):
        reference = [2000 // bins] * bins
        for _ in range(50):
            now = [0] * bins
            for _ in range(rows):
                now[drawn.randrange(bins)] += 1
            found = shift(reference, now)
            assert not found.shifted, (bins, rows)
            assert found.too_few is (rows < 1000), (bins, rows)
    # The same rows would say so if they were not too few.
    assert (stability_index([100] * 20, [1] * 10 + [0] * 10) or 0) > SHIFTED
    assert shift([1000, 1000], [2000, 0]).shifted
    assert shift([1000, 1000], [0, 0]).words == "nothing to compare"
    assert shift([1000, 1000], [2, 0]).words == "too few rows to compare"
