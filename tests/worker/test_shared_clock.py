"""Seconds that several things share: the parts of all are the time in which anything ran."""

from worker.shared_clock import SharedClock


def test_the_parts_of_all_are_the_time_in_which_anything_ran() -> None:
    now = 0.0
    clock = SharedClock(lambda: now)
    now = 5.0
    first = clock.begin()
    now = 6.0  # alone for a second
    second = clock.begin()
    now = 8.0  # and with another one for two
    parts = [clock.since(first)]
    clock.end()
    now = 8.5
    parts.append(clock.since(second))
    clock.end()
    assert parts == [2.0, 1.5]
    assert clock.under_way == 0
    now = 100.0
    third = clock.begin()
    assert clock.since(third) == 0.0, "what nobody computed is nobody's"
