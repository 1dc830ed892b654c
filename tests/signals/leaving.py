"""The bounds of a worker's departure, each by itself."""

import os
import signal
import threading
from dataclasses import dataclass, field

import pytest

from tests.cluster import wait_until
from worker.leaving import Departure

#: Longer than any test: a bound that is not to be reached.
NEVER = 600.0


@dataclass
class Ends:
    """The statuses with which a process would have ended."""

    statuses: list[int] = field(default_factory=list)

    def __call__(self, status: int) -> None:
        self.statuses.append(status)


@pytest.fixture
def ends() -> Ends:
    return Ends()


def test_chunks_that_do_not_end_are_left_to_their_leases(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    departure = Departure(lambda: 2, seconds=0.2, sign_off=NEVER, end=ends)
    departure.start()
    departure.begin()
    wait_until(lambda: ends.statuses == [0], 30, "the process ends")
    assert "2 chunks are not done" in caplog.text


def test_a_service_that_does_not_answer_is_not_waited_for_when_nothing_is_held(
    ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    held = threading.Event()
    departure = Departure(lambda: 0 if held.is_set() else 1, seconds=NEVER, sign_off=0.1, end=ends)
    departure.start()
    departure.begin()
    assert ends.statuses == []
    held.set()
    wait_until(lambda: ends.statuses == [0], 30, "the process ends")
    assert "left without a word" in caplog.text


def test_a_worker_that_was_not_told_to_leave_stays(ends: Ends) -> None:
    departure = Departure(lambda: 0, seconds=0.0, sign_off=0.0, end=ends)
    departure.start()
    told = Departure(lambda: 0, seconds=0.0, sign_off=0.0, end=ends)
    told.start()
    told.begin()
    wait_until(lambda: ends.statuses, 30, "the one that was told is gone")
    assert ends.statuses == [0]


@pytest.mark.parametrize("again", [signal.SIGTERM, signal.SIGINT])
def test_who_is_told_twice_leaves_at_once(
    ends: Ends, capfd: pytest.CaptureFixture[str], again: signal.Signals
) -> None:
    departure = Departure(lambda: 1, seconds=NEVER, sign_off=NEVER, end=ends)
    departure.start()
    departure.begin()
    os.kill(os.getpid(), again)
    wait_until(lambda: ends.statuses, 30, "the process ends")
    assert ends.statuses == [128 + again]
    assert "left at once" in capfd.readouterr().err


def test_who_is_told_again_in_the_middle_of_being_told_leaves_at_once(ends: Ends) -> None:
    departure = Departure(lambda: 1, seconds=NEVER, sign_off=NEVER, end=ends)
    departure.start()
    # The handler of the second signal runs inside of that of the first, and is through before it.
    departure.begin()
    assert ends.statuses == []
    departure.begin()
    assert ends.statuses == [128 + signal.SIGTERM]
