"""The sweeper: what nobody holds is queued again, what nobody heard of is sent again."""

import threading
from functools import partial

import pytest

from db.ledger.claiming import claim
from db.ledger.jobs import get_job
from db.ledger.producing import JobWriter
from db.ledger.stopping import cancel
from db.ledger.sweeping import ChunkId, Sweep, Sweeper, SweeperThread
from db.store import Store
from tests.cluster import wait_until
from tests.db.at_once import at_once
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, change, facts, held, past, result_of, value


class ListOutbox:
    """An outbox that keeps what is sent."""

    def __init__(self) -> None:
        self.sent: list[ChunkId] = []
        self.empty = False

    def send(self, chunk: ChunkId) -> None:
        self.sent.append(chunk)

    def is_empty(self, queue: str) -> bool:
        assert queue == "labelstream"
        return self.empty

    def numbers(self) -> list[int]:
        return sorted(chunk.number for chunk in self.sent)


class BrokenOutbox(ListOutbox):
    """An outbox whose broker is away."""

    def send(self, chunk: ChunkId) -> None:
        raise ConnectionError("no broker")


@pytest.fixture
def outbox() -> ListOutbox:
    return ListOutbox()


@pytest.fixture
def sweeper(store: Store, outbox: ListOutbox) -> Sweeper:
    return Sweeper(store, outbox, "me")


def sent(store: Store, writer: JobWriter, number: int, ago: float = 0.0) -> None:
    writer.note_sent(number)
    writer.mark_sent()
    change(
        store,
        f"UPDATE chunks SET sent_at = {past(store, ago)} WHERE number = :number",
        number=number,
    )


def test_a_lease_that_ran_out_is_queued_again_and_suspect(
    store: Store, sweeper: Sweeper, outbox: ListOutbox
) -> None:
    writer = begin(store)
    dead, alive = add(writer, 1, 3), add(writer, 4, 3)
    for number in (dead, alive):
        sent(store, writer, number)
    late, kept = held(store, writer.job, dead), held(store, writer.job, alive)
    change(store, f"UPDATE chunks SET lease_until = {past(store, 1)} WHERE number = :n", n=dead)
    assert sweeper.sweep() == Sweep(expired=1, resent=1, ended=0)
    assert outbox.sent == [ChunkId(writer.job, dead, "labelstream")]
    assert close_chunk(store, late, result_of(late)) is False
    assert claim(store, facts(store, writer.job, dead), dead, "w") is None
    assert claim(store, facts(store, writer.job, dead), dead, "w", alone=True) is not None
    assert close_chunk(store, kept, result_of(kept)) is True
    assert value(store, "SELECT claims FROM chunks WHERE number = :n", n=dead) == 2


def test_what_was_never_sent_is_sent(store: Store, sweeper: Sweeper, outbox: ListOutbox) -> None:
    writer = begin(store)
    never, just_now = add(writer, 1, 1), add(writer, 2, 1)
    sent(store, writer, just_now)
    outbox.empty = True
    assert sweeper.sweep() == Sweep(resent=1)
    assert outbox.numbers() == [never]
    assert value(store, "SELECT count(*) FROM chunks WHERE sent_at IS NULL") == 0
    assert sweeper.sweep() == Sweep()


def test_an_old_message_is_lost_when_its_queue_is_empty(
    store: Store, sweeper: Sweeper, outbox: ListOutbox
) -> None:
    writer = begin(store)
    old, young = add(writer, 1, 1), add(writer, 2, 1)
    sent(store, writer, old, ago=11)
    sent(store, writer, young, ago=8)
    assert sweeper.sweep() == Sweep(), "it may still wait in the queue"
    outbox.empty = True
    assert sweeper.sweep() == Sweep(resent=1)
    assert outbox.numbers() == [old]


def test_an_old_message_is_lost_when_a_much_younger_one_was_claimed(
    store: Store, sweeper: Sweeper, outbox: ListOutbox
) -> None:
    writer = begin(store)
    lost, between, claimed = (add(writer, n, 1) for n in (1, 2, 3))
    sent(store, writer, lost, ago=40)
    sent(store, writer, between, ago=25)
    sent(store, writer, claimed, ago=20)
    held(store, writer.job, claimed)
    assert sweeper.sweep() == Sweep(resent=1)
    assert outbox.numbers() == [lost]


def test_at_most_a_hundred_messages_are_sent_in_one_sweep(
    store: Store, sweeper: Sweeper, outbox: ListOutbox
) -> None:
    writer = begin(store)
    for number in range(1, 121):
        add(writer, number, 1)
    assert sweeper.sweep() == Sweep(resent=100)
    assert sweeper.sweep() == Sweep(resent=20)
    assert outbox.numbers() == list(range(1, 121))


def test_nothing_of_a_cancelled_job_is_sent(
    store: Store, sweeper: Sweeper, outbox: ListOutbox
) -> None:
    writer = begin(store)
    add(writer, 1, 1)
    cancel(store, writer.job)
    outbox.empty = True
    assert sweeper.sweep() == Sweep()


def test_a_broker_that_is_away_leaves_the_chunk_to_the_next_sweep(store: Store) -> None:
    writer = begin(store)
    add(writer, 1, 1)
    with pytest.raises(ConnectionError):
        Sweeper(store, BrokenOutbox(), "me").sweep()
    assert value(store, "SELECT sent_at FROM chunks") is None
    assert Sweeper(store, ListOutbox(), "me").sweep() == Sweep(resent=1)


def test_a_job_whose_last_closer_died_before_ending_it_is_ended(
    store: Store, sweeper: Sweeper
) -> None:
    complete, waiting = begin(store), begin(store, identity="another")
    complete.exhaust()
    add(waiting, 1, 1)
    waiting.exhaust()
    waiting.note_sent(1)
    waiting.mark_sent()
    assert sweeper.sweep() == Sweep(ended=1)
    assert get_job(store, complete.job).state == "done"
    assert get_job(store, waiting.job).state == "running"


def test_one_sweeper_at_a_time_has_the_duty(store: Store, outbox: ListOutbox) -> None:
    sweepers = [Sweeper(store, outbox, f"process {n}") for n in range(8)]
    sweeps = at_once([sweeper.sweep for sweeper in sweepers])
    on_duty = [place for place, sweep in enumerate(sweeps) if sweep is not None]
    assert len(on_duty) == 1
    assert not isinstance(sweeps[on_duty[0]], Exception)
    assert sweepers[on_duty[0]].sweep() == Sweep(), "who has the duty keeps it"
    other = sweepers[on_duty[0] - 1]
    assert other.sweep() is None
    other.leave()
    assert other.sweep() is None, "nobody gives up another's duty"
    sweepers[on_duty[0]].leave()
    wait_until(lambda: other.sweep() is not None, 5, "the duty is free")


def test_the_duty_of_a_dead_sweeper_is_taken_over(store: Store, outbox: ListOutbox) -> None:
    assert Sweeper(store, outbox, "dead").sweep() is not None
    change(store, f"UPDATE leases SET until = {past(store, 1)}")
    assert Sweeper(store, outbox, "alive").sweep() is not None
    assert value(store, "SELECT holder FROM leases") == "alive"


def test_the_thread_sweeps_on_after_a_failure_and_leaves_its_duty(store: Store) -> None:
    class FailsOnce(ListOutbox):
        failed = threading.Event()

        def send(self, chunk: ChunkId) -> None:
            if not self.failed.is_set():
                self.failed.set()
                raise ConnectionError("no broker")
            super().send(chunk)

    add(begin(store), 1, 1)
    outbox = FailsOnce()
    thread = SweeperThread(Sweeper(store, outbox, "thread"), every=0.05)
    thread.start()
    wait_until(lambda: outbox.sent, 10, "the second sweep sends")
    thread.stop()
    assert outbox.failed.is_set()
    after = Sweeper(store, ListOutbox(), "after")
    wait_until(lambda: after.sweep() is not None, 5, "the duty was given up")


def test_a_sweep_ahead_of_the_thread_does_its_work_and_keeps_no_duty(
    store: Store, outbox: ListOutbox
) -> None:
    add(begin(store), 1, 1)
    SweeperThread(Sweeper(store, outbox, "starting")).sweep_ahead()
    assert outbox.numbers() == [1]
    after = Sweeper(store, ListOutbox(), "after")
    wait_until(lambda: after.sweep() is not None, 5, "the duty was given up")
    SweeperThread(Sweeper(store, BrokenOutbox(), "starting")).sweep_ahead()


@pytest.mark.parametrize("tells", [True, False])
def test_sweeps_that_fail_are_logged_once_or_not_at_all_where_others_tell(
    store: Store, caplog: pytest.LogCaptureFixture, tells: bool
) -> None:
    class Failing(BrokenOutbox):
        asked = 0

        def send(self, chunk: ChunkId) -> None:
            self.asked += 1
            super().send(chunk)

    add(begin(store), 1, 1)
    outbox = Failing()
    thread = SweeperThread(Sweeper(store, outbox, "thread"), every=0.05, tells=tells)
    thread.start()
    wait_until(lambda: outbox.asked > 2, 30, "several sweeps fail")
    thread.stop()
    assert caplog.text.count("sweep failed (ConnectionError)") == int(tells)


def test_sweeping_and_closing_at_once_close_a_chunk_once(store: Store, outbox: ListOutbox) -> None:
    writer = begin(store)
    for turn in range(10):
        taken = held(store, writer.job, add(writer, turn * 2 + 1, 2))
        change(
            store,
            f"UPDATE chunks SET lease_until = {past(store, 1)} WHERE state = 'leased'",
        )
        sweeper = Sweeper(store, outbox, "me")
        closed, swept = at_once(
            [partial(close_chunk, store, taken, result_of(taken)), sweeper.sweep]
        )
        assert isinstance(swept, Sweep)
        assert closed is (swept.expired == 0)
        state = value(store, "SELECT state FROM chunks WHERE number = :n", n=taken.number)
        assert state == ("done" if closed else "queued")
    labeled = value(store, "SELECT sum(labeled) FROM chunks")
    assert value(store, "SELECT count(*) FROM labeled_texts") == labeled
