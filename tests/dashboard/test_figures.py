"""What the pages show is what the tables hold, on both databases."""

import math
from datetime import UTC, datetime, timedelta

import pytest

from dashboard.figures.days import MOMENT_ROWS, MOMENTS, day_counts
from dashboard.figures.labels import LabelCounts, label_figures, labels_over_time
from dashboard.figures.rejects import rejected_rows
from dashboard.figures.rows import Order, RowFilter, every_row, find_rows
from dashboard.figures.stability import stability_index
from dashboard.figures.throughput import LOOK_BACK_SECONDS, ThroughputLine
from db.registry.names import ModelRef
from db.registry.versions import resolve
from db.store import Store
from tests.dashboard.large_job import fill
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, result_of, value

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


def test_the_labels_of_a_job_that_runs_are_counted_anew(store: Store) -> None:
    job = begin(store)
    counts = LabelCounts(store)
    for number in (1, 2):
        add(job, 3 * number - 2, 3)
        taken = held(store, job.job, number)
        close_chunk(store, taken, result_of(taken))
        assert counts.of(job.job).figures.mix == {"joy": 3 * number}


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
    rows = [row for page in every_row(filled, wanted, at_once=170) for row in page]
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


def test_what_was_closed_lately_is_in_the_throughput_once(store: Store) -> None:
    line = ThroughputLine(store)
    assert sum(line.now().rows_per_second) == 0
    job = begin(store)
    for number, ago in enumerate((595, 100, 35, 35), start=1):
        add(job, 10 * number - 9, 10)
        taken = held(store, job.job, number)
        close_chunk(store, taken, result_of(taken))
        at = datetime.now(UTC) - timedelta(seconds=ago)
        change(
            store,
            "UPDATE chunks SET done_at = :at WHERE number = :number",
            at=at.strftime("%Y-%m-%d %H:%M:%S.%f") if store.dialect == "sqlite" else at,
            number=number,
        )
        # Looked at again and again: nothing is counted twice.
        line.now()
    # The line that has looked before knows what is over; one that looks anew sees all of it.
    fresh = ThroughputLine(store).now()
    assert len(fresh.rows_per_second) == LOOK_BACK_SECONDS // 10
    assert sum(fresh.rows_per_second) * 10 in (30, 40), "the first may be out of sight by now"
    assert sum(line.now().rows_per_second) * 10 <= 40


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


def test_a_day_is_counted_whole_by_label_and_its_sample_is_of_all_labels(filled: Store) -> None:
    # Two chunks of the same time, whose rows the index has by label.
    change(
        filled,
        "UPDATE labeled_texts SET labeled_at ="
        " (SELECT min(labeled_at) FROM labeled_texts) WHERE row_number <= 2500",
    )
    version = resolve(filled, ModelRef("emotion", None, 1))
    day = datetime(2026, 3, 1, tzinfo=UTC).date()
    found = day_counts(filled, version, day, lambda texts: [len(text.split()) for text in texts])
    assert found.rows == ROWS
    assert MOMENT_ROWS < found.sampled <= MOMENTS * MOMENT_ROWS
    assert sum(found.tokens) == found.sampled
    nothing = day_counts(filled, version, day + timedelta(days=1), None)
    assert (nothing.rows, nothing.sampled, sum(nothing.tokens)) == (0, 0, 0)


def test_of_one_moment_rows_are_drawn_and_not_taken_in_the_order_of_labels(filled: Store) -> None:
    change(
        filled, "UPDATE labeled_texts SET labeled_at = (SELECT max(labeled_at) FROM labeled_texts)"
    )
    change(filled, "UPDATE labeled_texts SET confidence = 0.3 WHERE label = 'anger'")
    change(filled, "UPDATE labeled_texts SET confidence = 0.9 WHERE label <> 'anger'")
    version = resolve(filled, ModelRef("emotion", None, 1))
    day = datetime(2026, 3, 1, tzinfo=UTC).date()
    found = day_counts(filled, version, day, None)
    assert found.sampled >= MOMENT_ROWS
    assert sum(found.confidence[18:]) > 0, "the index begins with anger"
