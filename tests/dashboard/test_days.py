"""A day beside the reference: its sample is of its rows, not of its hours, and few rows say nothing."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import insert

from dashboard.figures.days import (
    STRETCH_ROWS,
    STRETCHES,
    DayCounts,
    _drawn,
    added,
    day_counts,
    purges,
)
from dashboard.figures.stability import shift
from db.ledger.stopping import purge
from db.registry.names import ModelRef
from db.registry.versions import Version, add_version, resolve
from db.schema import Chunk, LabeledText
from db.store import Store
from tests.dashboard.large_job import DAY, fill
from tests.db.ledger_parts import begin, change
from tests.db.models import new_version

ROWS = 5000


@pytest.fixture
def filled(store: Store) -> Store:
    fill(store, ROWS)
    return store


def emotion(store: Store) -> Version:
    return resolve(store, ModelRef("emotion", None, 1))


def labelled(
    store: Store, job: int, chunks: Sequence[tuple[datetime, int, float]], version: int = 1
) -> None:
    """Store chunks: when each was closed, how many rows it has, and their confidence."""
    row = 0
    closings, rows = [], []
    for number, (at, count, confidence) in enumerate(chunks, 1):
        closings.append(
            {
                "job_id": job,
                "number": number,
                "row_count": count,
                "labeled": count,
                "state": "done",
                "queue": "labelstream",
                "engine": "constant",
                "model_version": version,
                "done_at": at,
            }
        )
        for _ in range(count):
            row += 1
            rows.append(
                {
                    "job_id": job,
                    "row_number": row,
                    "id_scope": "rows.csv",
                    "text": f"text {row}",
                    "truncated": False,
                    "label": ("anger", "joy")[row % 2],
                    "confidence": confidence,
                    "scores": {},
                    "unsure": False,
                    "model": "emotion",
                    "model_version": version,
                    "engine": "constant",
                    "labeled_at": at,
                }
            )
    with store.write() as connection:
        connection.execute(insert(Chunk), closings)
        connection.execute(insert(LabeledText), rows)
        connection.exec_driver_sql("UPDATE jobs SET created_at = '2026-03-01 00:00:00'")


def registered(store: Store) -> Version:
    add_version(store, new_version(labels=("anger", "joy")), who="a test")
    return emotion(store)


def test_a_day_is_counted_whole_by_label_and_its_sample_is_of_all_of_it(filled: Store) -> None:
    found = day_counts(
        filled, emotion(filled), DAY, lambda texts: [len(text.split()) for text in texts]
    )
    assert found.rows == ROWS
    assert found.sampled == STRETCHES * STRETCH_ROWS
    assert sum(found.tokens) == found.sampled
    nothing = day_counts(filled, emotion(filled), DAY + timedelta(days=1), None)
    assert (nothing.rows, nothing.sampled, sum(nothing.tokens)) == (0, 0, 0)


def test_of_one_chunk_rows_are_drawn_and_not_taken_in_the_order_of_labels(filled: Store) -> None:
    change(
        filled, "UPDATE labeled_texts SET labeled_at = (SELECT max(labeled_at) FROM labeled_texts)"
    )
    change(filled, "DELETE FROM chunks WHERE number < 20")
    change(filled, f"UPDATE chunks SET labeled = {ROWS}")
    change(filled, "UPDATE labeled_texts SET confidence = 0.3 WHERE label = 'anger'")
    change(filled, "UPDATE labeled_texts SET confidence = 0.9 WHERE label <> 'anger'")
    found = day_counts(filled, emotion(filled), DAY, None)
    assert found.sampled == STRETCHES * STRETCH_ROWS
    assert sum(found.confidence[18:]) > 700, "the index begins with anger"


def test_a_trickle_has_in_the_sample_of_a_day_the_share_that_it_has_of_its_rows(
    store: Store,
) -> None:
    version, job = registered(store), begin(store).job
    noon = datetime(2026, 3, 1, 12, tzinfo=UTC)
    # 27,000 rows in ten minutes; in the other hours a row every 24 seconds or so, 3,000 in all.
    burst = [(noon + timedelta(seconds=5 * place), 225, 0.95) for place in range(120)]
    trickle = [
        (datetime(2026, 3, 1, tzinfo=UTC) + timedelta(seconds=28 * place + 1), 1, 0.35)
        for place in range(3000)
    ]
    labelled(store, job, sorted(burst + trickle))
    found = day_counts(store, version, DAY, None)
    assert found.rows == 30_000
    assert 0.9 * STRETCHES * STRETCH_ROWS <= found.sampled <= STRETCHES * STRETCH_ROWS
    assert sum(found.confidence[6:8]) / found.sampled == pytest.approx(0.1, abs=0.03)
    assert sum(found.confidence[18:]) / found.sampled == pytest.approx(0.9, abs=0.03)


def test_every_row_is_as_likely_as_any_other_whatever_the_size_of_its_chunk() -> None:
    assert sum(_drawn([1] * 5000).values()) == STRETCHES * STRETCH_ROWS
    assert sum(_drawn([250] * 4000).values()) == STRETCHES * STRETCH_ROWS
    assert _drawn([10_000]) == {0: STRETCHES * STRETCH_ROWS}
    mixed = [1] * 1000 + [250] * 36
    taken = _drawn(mixed)
    small = sum(count for place, count in taken.items() if place < 1000)
    assert small == pytest.approx(100, abs=STRETCH_ROWS)
    assert all(count <= mixed[place] for place, count in taken.items())
    assert _drawn([]) == {}


def test_chunks_of_another_version_or_day_or_of_a_purged_job_are_not_in_the_sample(
    filled: Store,
) -> None:
    other = begin(filled, identity="another").job
    at = datetime(2026, 3, 1, 1, tzinfo=UTC)
    change(filled, "UPDATE labeled_texts SET confidence = 0.95")
    labelled(filled, other, [(at, 3000, 0.35)], version=2)
    found = day_counts(filled, emotion(filled), DAY, None)
    assert (found.rows, sum(found.confidence[:18])) == (ROWS, 0)
    assert found.sampled == STRETCHES * STRETCH_ROWS
    assert purges(filled, "emotion") == 0
    purge(filled, 1)
    gone = day_counts(filled, emotion(filled), DAY, None)
    assert (gone.rows, gone.sampled) == (0, 0)
    assert purges(filled, "emotion") == 1


def test_a_day_weighs_in_its_week_what_its_rows_weigh() -> None:
    few = DayCounts({"joy": 1000}, [1000, 0], [0, 0])
    many = DayCounts({"joy": 99_000}, [0, 1000], [0, 500])
    week = added([few, many], ["joy"])
    assert week.rows == 100_000
    assert week.confidence[0] / sum(week.confidence) == pytest.approx(0.01)
    # A thousand rows of nearly all of it, and hardly more than those.
    assert 1000 < sum(week.confidence) < 1030
    # Equal days tell as much as all rows that were looked at.
    assert sum(added([many, many], ["joy"]).confidence) == pytest.approx(2000)
    assert sum(added([many, many], ["joy"]).tokens) == pytest.approx(1000)
    nothing = DayCounts({}, [0, 0], [0, 0])
    assert sum(added([nothing] * 7, ["joy"]).confidence) == 0


def test_twenty_rows_a_day_are_too_few_to_say_anything_of(store: Store) -> None:
    version, job = registered(store), begin(store).job
    at = datetime(2026, 3, 1, 8, tzinfo=UTC)
    labelled(store, job, [(at + timedelta(hours=place), 5, 0.2 * place) for place in range(4)])
    found = day_counts(store, version, DAY, lambda texts: [3] * len(texts))
    assert (found.rows, found.sampled) == (20, 20)
    for reference, now in (
        ([1000, 1000], [found.labels["anger"], found.labels["joy"]]),
        ([100] * 20, found.confidence),
        ([100] * 15, found.tokens),
    ):
        said = shift(reference, now)
        assert said.too_few
        assert not said.shifted
