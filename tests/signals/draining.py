"""The first signal drains, the second interrupts, and a signal that is ignored stays ignored."""

import signal

import pytest

from producer.draining import Drain, draining

SIGNALS = (signal.SIGINT, signal.SIGTERM)


@pytest.mark.parametrize("first", SIGNALS)
@pytest.mark.parametrize("second", SIGNALS)
def test_the_first_signal_drains_and_the_second_interrupts(
    first: signal.Signals, second: signal.Signals
) -> None:
    before = [signal.getsignal(number) for number in SIGNALS]
    drain = Drain()
    with draining(drain):
        signal.raise_signal(first)
        assert drain.is_set()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(second)
    assert [signal.getsignal(number) for number in SIGNALS] == before


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    drain = Drain()
    with draining(drain):
        signal.raise_signal(signal.SIGINT)
        assert not drain.is_set()
        signal.raise_signal(signal.SIGTERM)
        assert drain.is_set()
    assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
