"""What is asked for every two seconds is counted once, and what is kept is never wrong."""

import threading
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event, update

from dashboard.figures import kept_totals, labels, throughput
from dashboard.figures.job_list import list_jobs, running_jobs
from dashboard.figures.kept_totals import KeptTotals
from dashboard.figures.labels import LabelCounts
from dashboard.figures.throughput import LOOK_BACK_SECONDS, POINT_SECONDS, ThroughputLine
from db.ledger.ending import end_if_complete
from db.ledger.producing import JobWriter
from db.ledger.stopping import cancel, purge
from db.ledger.totals import job_totals
from db.schema import Chunk, Job
from db.store import Store
from tests.dashboard.large_job import fill, fill_running
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, held, result_of, value


def label(job: JobWriter, store: Store, first: int, rows: int = 10) -> int:
    """Add a chunk and close it; return its number."""
    number = add(job, first, rows)
    taken = held(store, job.job, number)
    assert close_chunk(store, taken, result_of(taken))
    return number


def closed(store: Store, job: int, number: int, ago: float) -> None:
    """Let a chunk have been closed so many seconds ago."""
    at = datetime.now(UTC) - timedelta(seconds=ago)
    with store.write() as connection:
        connection.execute(
            update(Chunk).where(Chunk.job_id == job, Chunk.number == number).values(done_at=at)
        )


def rows_of(line: ThroughputLine) -> int:
    return round(sum(line.now().rows_per_second) * POINT_SECONDS)


def test_a_look_at_a_stream_does_not_count_its_closed_chunks_again(store: Store) -> None:
    job = fill_running(store, 200)
    totals = KeptTotals(store)
    (before,) = running_jobs(store, totals)
    assert (before.rows, before.labeled) == (210 * 250, 200 * 250)
    assert totals.of(job, "running") == job_totals(store, job)
    # Nobody does this: it shows which chunks are looked at again.
    change(store, "UPDATE chunks SET labeled = 0 WHERE number <= 200")
    (after,) = list_jobs(store, totals)
    assert after == before
    change(store, "UPDATE chunks SET labeled = 250, state = 'done' WHERE number = 201")
    assert running_jobs(store, totals)[0].labeled == 201 * 250


def test_the_counts_of_a_job_that_is_done_are_asked_for_once(store: Store) -> None:
    fill(store, 500)
    totals = KeptTotals(store)
    first = totals.of(1, "done")
    assert first == job_totals(store, 1)
    asked: list[str] = []
    event.listen(store.engine, "before_cursor_execute", lambda *given: asked.append(str(given[2])))
    assert totals.of(1, "done") is first
    assert asked == []
    purge(store, 1)
    assert totals.of(1, "purged") == job_totals(store, 1)


def test_of_a_job_that_was_cancelled_what_a_worker_held_is_counted_too(store: Store) -> None:
    job = begin(store)
    totals = KeptTotals(store)
    label(job, store, 1)
    taken = held(store, job.job, add(job, 11, 5))
    assert cancel(store, job.job)
    assert totals.of(job.job, "cancelled").labeled == 10
    assert close_chunk(store, taken, result_of(taken))
    assert totals.of(job.job, "cancelled").labeled == 15


def test_no_more_jobs_are_kept_than_may_be(
    sqlite_store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept_totals, "KEPT_JOBS", 3)
    totals = KeptTotals(sqlite_store)
    for number in range(10):
        job = begin(sqlite_store, identity=f"job {number}")
        label(job, sqlite_store, 1)
        assert totals.of(job.job, "running").labeled == 10
    assert len(totals._kept) == 3


def test_many_who_look_at_once_see_the_same(store: Store) -> None:
    job = fill_running(store, 50)
    totals = KeptTotals(store)
    seen = []

    def look() -> None:
        for _ in range(10):
            seen.append(totals.of(job, "running"))  # noqa: PERF401

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(seen) == 60
    assert {found.labeled for found in seen} == {50 * 250}


def test_what_was_closed_lately_is_in_the_throughput_once(store: Store) -> None:
    line = ThroughputLine(store)
    assert rows_of(line) == 0
    job = begin(store)
    # The line knows what was over 20 s before its last look; what comes now is within that.
    for place in range(4):
        number = label(job, store, 10 * place + 1)
        closed(store, job.job, number, POINT_SECONDS)
        # Looked at again and again: nothing is counted twice.
        line.now()
    assert rows_of(line) == 40
    fresh = ThroughputLine(store)
    assert rows_of(fresh) == 40
    assert len(fresh.now().rows_per_second) == LOOK_BACK_SECONDS // POINT_SECONDS
    # One that looks anew sees all of ten minutes and nothing of before.
    for number, ago in ((1, 500), (2, 700)):
        closed(store, job.job, number, ago)
    assert rows_of(ThroughputLine(store)) == 30


def test_a_job_that_ran_at_the_last_look_is_seen_to_its_end_however_many_began_since(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(throughput, "MOST_JOBS", 2)
    line = ThroughputLine(store)
    old = begin(store)
    assert rows_of(line) == 0
    number = label(old, store, 1)
    closed(store, old.job, number, POINT_SECONDS)
    old.exhaust(None)
    assert end_if_complete(store, old.job) == "done"
    for other in range(3):
        begin(store, identity=f"other {other}")
    assert rows_of(line) == 10
    assert rows_of(line) == 10, "and while its last points may still change"
    assert rows_of(ThroughputLine(store)) == 0, "who did not look before does not know of it"
    # A job that ended is forgotten when what it had is over for good.
    assert old.job in line._ran
    line._ran[old.job] = datetime.now(UTC) - timedelta(seconds=100)
    line.now()
    assert old.job not in line._ran


class Clock:
    """Each look at it takes `pace` seconds."""

    def __init__(self) -> None:
        self.now, self.pace = 0.0, 0.0

    def __call__(self) -> float:
        self.now += self.pace
        return self.now


def test_the_labels_of_a_job_that_runs_are_counted_anew_after_ten_times_what_it_took(
    store: Store,
) -> None:
    job, clock = begin(store), Clock()
    counts = LabelCounts(store, clock)
    label(job, store, 1, 3)
    clock.pace = 2.0
    assert counts.of(job.job).figures.mix == {"joy": 3}
    label(job, store, 4, 3)
    clock.pace = 0.0
    clock.now += 19
    assert counts.of(job.job).figures.mix == {"joy": 3}, "it took two seconds"
    clock.now += 1.5
    assert counts.of(job.job).figures.mix == {"joy": 6}


def test_when_a_job_ends_its_labels_are_counted_at_once_and_for_good(store: Store) -> None:
    job, clock = begin(store), Clock()
    counts = LabelCounts(store, clock)
    label(job, store, 1, 3)
    clock.pace = 2.0
    counts.of(job.job)
    label(job, store, 4, 3)
    job.exhaust(None)
    assert end_if_complete(store, job.job) == "done"
    found = counts.of(job.job)
    assert found.figures.mix == {"joy": 6}
    clock.now += 1e6
    assert counts.of(job.job) is found
    # What is kept of a purged job is not shown.
    purge(store, job.job)
    assert counts.of(job.job).figures.rows == 0
    assert counts.of(job.job).over_time is None


def test_many_who_ask_for_labels_at_once_are_counted_for_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(store, 500)
    with store.write() as connection:
        connection.execute(update(Job).values(state="running"))
    counted = []
    count = labels.label_figures

    def counting(store: Store, job_id: int) -> labels.LabelFigures:
        counted.append(job_id)
        return count(store, job_id)

    monkeypatch.setattr(labels, "label_figures", counting)
    clock = Clock()
    clock.pace = 1.0
    counts, barrier = LabelCounts(store, clock), threading.Barrier(6)

    def look() -> None:
        barrier.wait()
        assert counts.of(1).figures.rows == 500

    threads = [threading.Thread(target=look) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted == [1]
    assert value(store, "SELECT count(*) FROM labeled_texts") == 500
