"""The C library's heap: what is free in the midst of it goes back to the system."""

import ctypes

import psutil
import pytest

from worker.engines.heap import Heap, trim

#: A block is smaller than what the C library asks the system for by itself.
BLOCK, BLOCKS = 64 * 1024, 2000


@pytest.mark.skipif(
    not hasattr(ctypes.CDLL(None), "malloc_trim"), reason="no malloc_trim: no glibc"
)
def test_holes_between_what_is_in_use_are_given_back() -> None:
    blocks = [bytearray(b"x" * BLOCK) for _ in range(BLOCKS)]
    process = psutil.Process()
    del blocks[::2]
    before = process.memory_info().rss
    trim()()
    assert before - process.memory_info().rss > 0.8 * BLOCK * BLOCKS / 2
    assert all(set(block) == {ord("x")} for block in blocks[:10])


def test_it_is_given_back_now_and_then() -> None:
    times = [100.0, 101.0, 101.9, 102.0, 102.1, 103.9, 104.0, 109.0, 110.9]
    seen: list[float] = []

    def clock() -> float:
        seen.append(times[len(seen)])
        return seen[-1]

    given_back: list[float] = []
    used = Heap(lambda: given_back.append(seen[-1]), clock)
    for _ in times[1:]:
        used.used()
    assert given_back == [102.0, 104.0, 109.0]


def test_a_c_library_without_it_does_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda _: object())
    trim()()
