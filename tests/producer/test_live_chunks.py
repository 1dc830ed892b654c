"""Chunks of a source without an end: closed by rows, bytes or time, bounded, and all of it at a drain."""

import threading
from collections.abc import Iterator

import pytest

from producer.arrivals import Arrivals, NobodyReads
from producer.draining import Drain
from producer.feeding import NewChunk
from producer.live import LiveChunks, Pace, Sink
from tests.cluster import wait_until

#: So long that a chunk is never closed by it within a test.
NEVER = 3600.0


class Batch:
    """A chunk that keeps its items."""

    def __init__(self, items: list[int]) -> None:
        self.items = items

    def add(self, writer: object) -> int | None:
        raise NotImplementedError

    def settle(self) -> None:
        raise NotImplementedError


class Source:
    """Numbers that a test hands out; ends with `stop`, or when it is drained."""

    def __init__(self, drain: Drain) -> None:
        self._drain = drain
        self._given: list[int] = []
        self._asked = threading.Condition()
        self._stopped: Exception | bool = False
        #: Numbers for which there was room.
        self.taken = 0

    def give(self, *numbers: int) -> None:
        with self._asked:
            self._given += numbers
            self._asked.notify()

    def stop(self, error: Exception | None = None) -> None:
        with self._asked:
            self._stopped = error or True
            self._asked.notify()

    def read(self, put: Sink[int]) -> None:
        while True:
            with self._asked:
                while not self._given and not self._stopped and not self._drain.is_set():
                    self._asked.wait(0.05)
                fresh, self._given = self._given, []
                if not fresh:
                    if isinstance(self._stopped, Exception):
                        raise self._stopped
                    return
            for number in fresh:
                put(number, 10)
                self.taken += 1


def batches(source: Source, drain: Drain, pace: Pace) -> "LiveChunks[int]":
    return LiveChunks(source.read, Batch, pace, drain)


def items(chunk: NewChunk | None) -> list[int]:
    assert isinstance(chunk, Batch)
    return chunk.items


def next_chunk(chunks: Iterator[NewChunk | None]) -> list[int]:
    return items(next(chunk for chunk in chunks if chunk is not None))


def test_a_chunk_is_closed_by_its_rows(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=3, seconds=NEVER)))
    source.give(1, 2, 3, 4)
    assert next_chunk(chunks) == [1, 2, 3]
    assert next(chunks) is None, "the fourth waits for others"
    source.give(5, 6)
    assert next_chunk(chunks) == [4, 5, 6]


def test_a_chunk_is_closed_by_its_bytes(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=100, seconds=NEVER, bytes=25)))
    source.give(1, 2, 3, 4)
    assert next_chunk(chunks) == [1, 2, 3], "closed by the row that makes it as long as it may be"


def test_a_chunk_is_closed_by_the_time_since_its_first_row(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=100, seconds=0.2)))
    source.give(1)
    assert next_chunk(chunks) == [1]
    source.give(2, 3)
    assert next_chunk(chunks)[0] == 2


def test_silence_is_told_again_and_again(drain: Drain) -> None:
    chunks = iter(batches(Source(drain), drain, Pace(rows=3)))
    assert [next(chunks), next(chunks), next(chunks)] == [None, None, None]


def test_what_waited_while_there_was_no_room_makes_full_chunks(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=4, seconds=0.0)))
    source.give(*range(1, 14))
    assert next_chunk(chunks)[0] == 1
    wait_until(
        lambda: source.taken == 13, 30, "all are read, while nobody asked for the next chunk"
    )
    rest = [next_chunk(chunks), next_chunk(chunks)]
    assert all(len(batch) == 4 for batch in rest)


def test_no_more_is_read_than_there_is_room_for(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=2, seconds=NEVER)))
    source.give(*range(1, 101))
    assert next_chunk(chunks) == [1, 2]
    # A chunk was taken, four may wait.
    wait_until(lambda: source.taken == 10, 30, "as many are read as may wait")
    assert next_chunk(chunks) == [3, 4]
    wait_until(lambda: source.taken == 12, 30, "two more are read for the two that were taken")


def test_bytes_fill_the_room_as_rows_do() -> None:
    arrivals: Arrivals[str] = Arrivals(most_items=1000, most_bytes=100)
    arrivals.put("long", 500)
    put: list[str] = []

    def put_another() -> None:
        arrivals.put("next", 1)
        put.append("next")

    thread = threading.Thread(target=put_another, daemon=True)
    thread.start()
    thread.join(timeout=0.3)
    assert not put, "one that is longer than all room is let in alone"
    assert [arrival.item for arrival in arrivals.take(10, 1000, 0)] == ["long"]
    thread.join(timeout=30)
    assert put == ["next"]


def test_a_drain_gives_all_that_was_read_and_ends(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=3, seconds=NEVER)))
    source.give(*range(1, 8))
    assert next_chunk(chunks) == [1, 2, 3]
    drain.set()
    assert [items(chunk) for chunk in chunks if chunk] == [[4, 5, 6], [7]]


def test_a_source_that_ends_gives_its_last_rows_at_once(drain: Drain) -> None:
    source = Source(drain)
    chunks = iter(batches(source, drain, Pace(rows=3, seconds=NEVER)))
    source.give(1, 2)
    source.stop()
    assert [items(chunk) for chunk in chunks if chunk] == [[1, 2]]


def test_an_error_comes_after_what_was_read_before_it(drain: Drain) -> None:
    source = Source(drain)
    live = batches(source, drain, Pace(rows=3, seconds=NEVER))
    chunks = iter(live)
    source.give(1, 2)
    source.stop(ValueError("broke off"))
    assert next_chunk(chunks) == [1, 2]
    assert live.unentered == 2, "it is told as long as nobody asks for the next"
    with pytest.raises(ValueError, match="broke off"):
        next_chunk(chunks)
    assert live.unentered == 0


def test_a_thread_that_hangs_in_a_read_does_not_hold_up_a_drain(
    drain: Drain, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.live._DRAIN_SECONDS", 0.3)
    for_ever = threading.Event()

    def read(put: Sink[int]) -> None:
        put(1, 10)
        for_ever.wait()

    chunks = iter(LiveChunks(read, Batch, Pace(rows=3, seconds=NEVER), drain))
    assert next(chunks) is None
    drain.set()
    assert [items(chunk) for chunk in chunks if chunk] == [[1]]
    for_ever.set()


def test_a_reader_whose_rows_nobody_wants_is_let_go(drain: Drain) -> None:
    let_go = threading.Event()

    def read(put: Sink[int]) -> None:
        try:
            while True:
                put(1, 10)
        except NobodyReads:
            let_go.set()
            raise

    chunks = iter(LiveChunks(read, Batch, Pace(rows=1, seconds=NEVER), drain))
    assert next_chunk(chunks) == [1]
    del chunks
    assert let_go.wait(timeout=30)


@pytest.fixture
def drain() -> Drain:
    return Drain()
