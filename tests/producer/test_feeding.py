"""Feeding: never more chunks open than may be, whatever the broker says."""

import threading
from collections.abc import Callable, Iterator

from db.ledger.ending import OPEN_STATES
from db.ledger.producing import JobWriter
from db.ledger.sweeping import ChunkId
from db.store import Store
from producer.chunking import PlacedChunk, RowChunk
from producer.feeding import Feeder, Heartbeat
from producer.sending import BrokerWatch, Sender
from tests.cluster import wait_until
from tests.db.closings import close_chunk
from tests.db.ledger_parts import begin, chunk_rows, held, parsed_rejects, result_of, value

MOST_OPEN = 3
CHUNKS = 8


class Sent:
    """An outbox that keeps what it was given, or fails."""

    def __init__(self, failure: Exception | None = None) -> None:
        self.chunks: list[ChunkId] = []
        self._failure = failure

    def send(self, chunk: ChunkId) -> None:
        if self._failure is not None:
            raise self._failure
        self.chunks.append(chunk)

    def is_empty(self, queue: str) -> bool:
        return not self.chunks


def chunks() -> Iterator[PlacedChunk]:
    for number in range(CHUNKS):
        yield at(RowChunk(chunk_rows(2 * number + 1, 2), []))


def at(chunk: RowChunk) -> PlacedChunk:
    return PlacedChunk(chunk, {})


def open_now(store: Store) -> int:
    states = ", ".join(f"'{state}'" for state in OPEN_STATES)
    return int(value(store, f"SELECT count(*) FROM chunks WHERE state IN ({states})"))


def wait_for_chunks(store: Store, count: int) -> None:
    wait_until(
        lambda: value(store, "SELECT count(*) FROM chunks") == count,
        30,
        f"{count} chunks are there",
    )


def feeder(
    writer: JobWriter,
    outbox: Sent,
    on_tick: Callable[[], None] = lambda: None,
    tell: Callable[[str], None] = print,
) -> Feeder:
    watch = BrokerWatch(lambda: None, "redis", patience=60, tell=tell)
    sender = Sender(writer, outbox, "labelstream", watch)
    return Feeder(writer, sender, MOST_OPEN, on_tick=on_tick)


def test_no_more_chunks_are_open_than_may_be(store: Store) -> None:
    writer = begin(store)
    outbox = Sent()
    seen: list[int] = []
    feeding = feeder(writer, outbox, on_tick=lambda: seen.append(open_now(store)))
    with Heartbeat(writer) as heartbeat:
        thread = threading.Thread(target=feeding.feed, args=(chunks(), heartbeat), daemon=True)
        thread.start()
        for done in range(CHUNKS):
            expected = min(done + MOST_OPEN, CHUNKS)
            wait_for_chunks(store, expected)
            assert open_now(store) == min(MOST_OPEN, CHUNKS - done)
            taken = held(store, writer.job, done + 1)
            assert close_chunk(store, taken, result_of(taken))
        thread.join(timeout=30)
    assert not thread.is_alive()
    assert max(seen) == MOST_OPEN
    assert [chunk.number for chunk in outbox.chunks] == list(range(1, CHUNKS + 1))


def test_chunks_of_rejects_alone_are_never_open_and_never_waited_for(store: Store) -> None:
    writer = begin(store)
    rejected = (at(RowChunk(chunk_rows(1, 0), parsed_rejects(n, 1))) for n in range(1, CHUNKS + 1))
    with Heartbeat(writer) as heartbeat:
        feeder(writer, Sent()).feed(rejected, heartbeat)
    assert value(store, "SELECT count(*) FROM rejects") == CHUNKS
    assert open_now(store) == 0


def test_a_broker_that_is_away_is_said_once_and_the_chunks_are_kept(store: Store) -> None:
    writer = begin(store)
    troubles: list[str] = []
    two = (at(RowChunk(chunk_rows(n, 1), [])) for n in (1, 2))
    with Heartbeat(writer) as heartbeat:
        broken = Sent(ConnectionError("redis://me:pw@host"))
        feeder(writer, broken, tell=troubles.append).feed(two, heartbeat)
    assert len(troubles) == 1
    assert troubles[0].startswith("broker redis takes no messages (redis://me:***@host)")
    assert value(store, "SELECT count(*) FROM chunks WHERE sent_at IS NULL") == 2
