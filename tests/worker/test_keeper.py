"""Leases: renewed by progress alone, or inside a step with its own limit; a lost one is noticed."""

import time
from collections.abc import Iterator

import pytest

from db.ledger.claiming import Claim
from db.store import Store
from tests.cluster import wait_until
from tests.db.ledger_parts import add, begin, change, held, past, value
from worker.keeper import LeaseKeeper

#: Seconds between two renewals here.
EVERY = 0.2


class Progress:
    """A count of micro-batches that a test moves."""

    def __init__(self) -> None:
        self.count = 0

    def __call__(self) -> int:
        return self.count


@pytest.fixture
def progress() -> Progress:
    return Progress()


@pytest.fixture
def keeper(store: Store, progress: Progress) -> Iterator[LeaseKeeper]:
    keeper = LeaseKeeper(store, progress, every=EVERY)
    keeper.start()
    yield keeper
    keeper.stop()


@pytest.fixture
def claimed(store: Store) -> Claim:
    """Claim a chunk, and let its lease have run out a minute ago: a renewal then shows."""
    job = begin(store)
    claimed = held(store, job.job, add(job, 1, 3))
    run_out(store)
    return claimed


def run_out(store: Store) -> None:
    change(store, f"UPDATE chunks SET lease_until = {past(store, 60)}")


def is_renewed(store: Store) -> bool:
    return bool(value(store, f"SELECT lease_until > {past(store, 0)} FROM chunks"))


def stays_run_out(store: Store) -> bool:
    """Whether the lease is not renewed during several periods."""
    deadline = time.monotonic() + 5 * EVERY
    while time.monotonic() < deadline:
        if is_renewed(store):
            return False
        time.sleep(EVERY / 5)
    return True


def test_progress_renews_a_lease_and_without_it_none_is_renewed(
    store: Store, keeper: LeaseKeeper, progress: Progress, claimed: Claim
) -> None:
    with keeper.holding(claimed) as hold:
        assert stays_run_out(store)
        progress.count += 1
        wait_until(lambda: is_renewed(store), 10, "progress renews")
        # The renewal that is under way may be this one's: let the keeper note it.
        wait_until(lambda: not hold.deserves_renewal(progress.count, 0), 10, "it is noted")
        run_out(store)
        assert stays_run_out(store), "one micro-batch earns one renewal"
        progress.count += 1
        wait_until(lambda: is_renewed(store), 10, "progress renews again")


def test_a_step_renews_until_its_own_limit(
    store: Store, keeper: LeaseKeeper, claimed: Claim
) -> None:
    with keeper.holding(claimed) as hold:
        with hold.step(60):
            for _ in range(2):
                wait_until(lambda: is_renewed(store), 10, "a step within its limit renews")
                run_out(store)
        with hold.step(0):
            # A renewal that was under way when the step before ended may still land.
            time.sleep(EVERY)
            run_out(store)
            assert stays_run_out(store), "a step over its limit does not"
        assert stays_run_out(store), "nor does no step"


def test_a_lease_that_was_taken_away_is_noticed_and_renewed_no_more(
    store: Store, keeper: LeaseKeeper, progress: Progress, claimed: Claim
) -> None:
    with keeper.holding(claimed) as hold:
        change(store, "UPDATE chunks SET lease_token = 'another'")
        assert not hold.lost.is_set()
        progress.count += 1
        assert hold.lost.wait(10)
        progress.count += 1
        assert stays_run_out(store), "the other's lease is left alone"


def test_a_chunk_that_is_held_no_more_is_renewed_no_more(
    store: Store, keeper: LeaseKeeper, progress: Progress, claimed: Claim
) -> None:
    with keeper.holding(claimed):
        pass
    progress.count += 1
    assert stays_run_out(store)


def test_each_held_chunk_is_renewed_by_the_progress_of_any(
    store: Store, keeper: LeaseKeeper, progress: Progress
) -> None:
    job = begin(store)
    claims = [held(store, job.job, add(job, first, 3)) for first in (1, 11)]
    run_out(store)
    with keeper.holding(claims[0]), keeper.holding(claims[1]):
        progress.count += 1
        renewed = f"SELECT count(*) FROM chunks WHERE lease_until > {past(store, 0)}"
        wait_until(lambda: value(store, renewed) == 2, 10, "both are renewed")
