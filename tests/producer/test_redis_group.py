"""A consumer group of a real Redis: delivered once, inherited once, and no consumer deleted early."""

from collections.abc import Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import redis

from db.ledger.jobs import create_job
from db.ledger.producing import JobWriter
from db.store import Store
from producer.columns import Columns
from producer.draining import Drain
from producer.encodings import find_encoding
from producer.feeding import NewChunk
from producer.live import Pace
from producer.redis_address import RedisAddress, parse_address
from producer.redis_chunks import EntryChunks, SourceOutage
from producer.redis_group import StreamGroup
from producer.redis_heirs import Heir, consumer_name, group_identity
from producer.redis_rows import EntryMaker
from producer.rows import SourceError
from tests.db.at_once import at_once
from tests.db.ledger_parts import change, past, value
from tests.producer.made_jobs import new_job
from tests.proxy import proxy_to
from tests.services import start_redis

LEDGER = "0123456789abcdef0123456789abcdef"


@pytest.fixture
def address(redis_url: str) -> RedisAddress:
    return parse_address(f"{redis_url}?stream=s&group=g")


@pytest.fixture
def server(redis_url: str, address: RedisAddress) -> Iterator[Any]:
    """The stream's owner."""
    with redis.Redis.from_url(redis_url) as client:
        yield client


@pytest.fixture
def group(address: RedisAddress, server: Any) -> Iterator[StreamGroup]:
    made = StreamGroup(address)
    assert made.make()
    yield made
    made.close()


def add(server: Any, count: int, text: str = "text") -> list[str]:
    return [server.xadd("s", {"text": f"{text} {n}"}).decode() for n in range(count)]


def add_uneven(server: Any) -> Pace:
    """Add 10 entries, and return the pace at which 4 are a chunk and 6 are read with them.

    After two small ones, many are asked for at once, and they turn out to be large.
    """
    for size in [1] * 2 + [100_000] * 8:
        server.xadd("s", {"text": "x" * size})
    return Pace(rows=10, seconds=5.0, bytes=150_000)


def test_a_group_is_made_once_and_begins_with_what_is_there(
    server: Any, group: StreamGroup
) -> None:
    ids = add(server, 3)
    assert not group.make()
    assert [one.id for one in group.read("a", ">", 10, 0.01)] == ids
    assert group.read("a", ">", 10, 0.01) == []
    assert [one.id for one in group.read("a", "0", 10, 0.01)] == ids
    group.acknowledge(ids[:2])
    assert [one.id for one in group.read("a", "0", 10, 0.01)] == ids[2:]


def test_of_two_heirs_at_once_each_is_given_entries_of_its_own(
    server: Any, group: StreamGroup, address: RedisAddress
) -> None:
    ids = add(server, 400)
    assert len(group.read("dead", ">", 400, 0.01)) == 400

    def inherit(name: str) -> list[str]:
        own = StreamGroup(address)
        taken = []
        while page := own.claim("dead", name, 7, 1_000_000):
            taken += [one.id for one in page]
        own.close()
        return taken

    shares = at_once([partial(inherit, f"heir-{n}") for n in range(4)])
    assert sorted(id_ for share in shares for id_ in share) == sorted(ids)
    pending = server.xpending("s", "g")["consumers"]
    assert {one["name"].decode(): one["pending"] for one in pending} == {
        f"heir-{n}": len(share) for n, share in enumerate(shares) if share
    }


def test_a_page_of_an_inheritance_has_an_end_in_bytes_too(server: Any, group: StreamGroup) -> None:
    for _ in range(6):
        server.xadd("s", {"text": "x" * 1000})
    group.read("dead", ">", 10, 0.01)
    assert len(group.claim("dead", "heir", 10, 2500)) == 3
    assert len(group.claim("dead", "heir", 2, 2500)) == 2
    assert len(group.claim("dead", "heir", 2, 2500)) == 1


def test_entries_that_were_deleted_from_the_stream_are_told_of_and_need_no_row(
    server: Any, group: StreamGroup
) -> None:
    ids = add(server, 3)
    group.read("dead", ">", 10, 0.01)
    server.xdel("s", ids[1])
    taken = group.claim("dead", "heir", 10, 1_000_000)
    assert [(one.id, bool(one.fields)) for one in taken] == [
        (ids[0], True), (ids[1], False), (ids[2], True),
    ]  # fmt: skip
    group.acknowledge(ids)
    assert server.xpending("s", "g")["pending"] == 0


def test_a_consumer_that_holds_entries_is_not_deleted(server: Any, group: StreamGroup) -> None:
    ids = add(server, 1)
    group.read("dead", ">", 10, 0.01)
    assert not group.delete("dead")
    assert group.consumers() == ["dead"]
    group.acknowledge(ids)
    assert group.delete("dead")
    assert group.consumers() == []


def producer(store: Store, group: StreamGroup, **values: Any) -> tuple[JobWriter, EntryChunks]:
    """Make a producer of the group: its job's writer, and its chunks."""
    number = value(store, "SELECT count(*) FROM jobs") + 1
    job = new_job(identity=f"p{number}", source_identity="us", stream="redis", continues=False)
    writer = JobWriter(store, create_job(store, job, "host:1"), "labelstream")
    warn = values.pop("warn", print)
    consumer = values.pop("consumer", None) or consumer_name(LEDGER, writer.job)
    chunks = EntryChunks(
        group,
        "us",
        consumer,
        EntryMaker("s", Columns("text"), find_encoding("utf-8")),
        Heir(group, store, LEDGER, consumer, warn=warn, every=0),
        SourceOutage("redis", values.pop("patience", 60), warn),
        values.pop("pace", Pace(rows=10, seconds=0.05)),
        values.pop("drain", Drain()),
        limit=values.pop("limit", None),
        new_life=values.pop("new_life", False),
        warn=warn,
    )
    return writer, chunks


def feed(chunks: Iterable[Any], writer: JobWriter) -> list[int]:
    """Enter and settle every chunk; return how many entries each acknowledged."""
    sizes = []
    for chunk in chunks:
        if chunk is not None:
            chunk.add(writer)
            chunk.settle()
            sizes.append(len(chunk.ids))
    return sizes


def next_chunk(chunks: Iterator[NewChunk | None]) -> Any:
    """Return the next chunk that is one."""
    return next(chunk for chunk in chunks if chunk is not None)


def end(store: Store, writer: JobWriter) -> None:
    """Do what the sweeper does to a job whose producer is gone."""
    change(
        store,
        "UPDATE jobs SET producer_token = NULL, source_exhausted = true WHERE id = :job",
        job=writer.job,
    )


def test_chunks_close_by_rows_by_bytes_and_by_time(
    sqlite_store: Store, server: Any, group: StreamGroup
) -> None:
    add(server, 25)
    drain = Drain()
    writer, chunks = producer(sqlite_store, group, limit=25)
    assert feed(chunks, writer) == [10, 10, 5]
    for _ in range(5):
        server.xadd("s", {"text": "x" * 400})
    writer, chunks = producer(sqlite_store, group, limit=5, pace=Pace(10, 5.0, bytes=1000))
    assert feed(chunks, writer) == [3, 2]
    add(server, 4)
    writer, chunks = producer(sqlite_store, group, drain=drain)
    stream = iter(chunks)
    assert len(next_chunk(stream).ids) == 4
    assert next(stream) is None, "nothing more comes"
    drain.set()
    assert list(stream) == []


def test_nothing_is_read_beyond_the_chunk_that_is_asked_for(
    sqlite_store: Store, server: Any, group: StreamGroup
) -> None:
    add(server, 1000)
    _, chunks = producer(sqlite_store, group)
    stream = iter(chunks)
    assert server.xpending("s", "g")["pending"] == 0
    next_chunk(stream)
    assert server.xpending("s", "g")["pending"] == 10


def test_what_was_read_is_given_out_after_a_drain_and_the_consumer_leaves(
    sqlite_store: Store, server: Any, group: StreamGroup
) -> None:
    drain = Drain()
    writer, chunks = producer(sqlite_store, group, drain=drain, pace=add_uneven(server))
    stream = iter(chunks)
    first = next_chunk(stream)
    assert len(first.ids) == 4
    assert server.xpending("s", "g")["pending"] == 10
    drain.set()
    add(server, 3)
    first.add(writer)
    first.settle()
    sizes = feed(stream, writer)
    assert sizes == [2, 2, 2]
    assert value(sqlite_store, "SELECT sum(row_count) FROM chunks") == 10
    assert server.xpending("s", "g")["pending"] == 0
    assert group.consumers() == []


def test_an_heir_takes_from_producers_whose_job_is_over_and_from_no_other(
    store: Store, server: Any, group: StreamGroup
) -> None:
    ids = add(server, 32)
    dead, dead_chunks = producer(store, group)
    living, living_chunks = producer(store, group)
    taken = next_chunk(iter(dead_chunks))
    held = next_chunk(iter(living_chunks))
    # The first one commits and dies before it acknowledges; a stranger holds entries too.
    assert taken.add(dead) == 1
    group.read("stranger", ">", 2, 0.01)
    heir, chunks = producer(store, group, limit=8)
    assert feed(chunks, heir) == [8], "what is new; nobody is dead yet"
    end(store, dead)
    next_heir, chunks = producer(store, group, limit=2)
    assert feed(chunks, next_heir) == [2] * 6, "what the dead one held, and then what is new"
    assert value(store, "SELECT sum(row_count) FROM chunks") == 20
    assert value(store, "SELECT count(*) FROM stream_entries") == 0
    pending = server.xpending("s", "g")["consumers"]
    assert {one["name"].decode(): one["pending"] for one in pending} == {
        "stranger": 2,
        consumer_name(LEDGER, living.job): 10,
    }
    assert held.ids == ids[10:20]
    assert consumer_name(LEDGER, dead.job) not in group.consumers()


def test_an_entry_of_a_dead_producer_that_it_had_not_entered_is_entered_by_its_heir(
    store: Store, server: Any, group: StreamGroup
) -> None:
    add(server, 10)
    dead, chunks = producer(store, group)
    next_chunk(iter(chunks))
    end(store, dead)
    heir, chunks = producer(store, group, limit=10)
    assert feed(chunks, heir) == [10]
    assert value(store, "SELECT sum(row_count) FROM chunks") == 10


def test_a_group_is_known_by_one_name_whatever_its_server_is_called(
    store: Store, server: Any, group: StreamGroup
) -> None:
    assert group_identity(group, store, LEDGER) is None
    group.join("stranger")
    group.join(consumer_name("another ledger", 1))
    group.join(consumer_name(LEDGER, 999))
    assert group_identity(group, store, LEDGER) is None
    _, chunks = producer(store, group)
    # It is in the group before it was given anything.
    assert next(iter(chunks)) is None
    assert group_identity(group, store, LEDGER) == "us"


def test_an_answer_that_was_lost_on_the_way_loses_no_entry(
    sqlite_store: Store, address: RedisAddress, server: Any, group: StreamGroup
) -> None:
    """Redis has delivered them; nobody has got them."""
    ids = add(server, 5)
    with proxy_to(address.url) as proxy:
        through = StreamGroup(parse_address(f"{proxy.url(address.url)}?stream=s&group=g"))
        said: list[str] = []
        _, chunks = producer(sqlite_store, through, consumer="me", warn=said.append)
        assert next_chunk(iter(chunks)).ids == ids
        # As if that answer had been lost, and the connection with it: it is asked for once more.
        _, chunks = producer(sqlite_store, through, consumer="me", warn=said.append)
        stream = iter(chunks)
        proxy.cut()
        assert next(stream) is None
        proxy.restore()
        assert next_chunk(stream).ids == ids
        through.close()
    assert [line.split(" is away")[0] for line in said] == ["redis", "redis answers again"]
    assert "trying again for 60 s" in said[0]


def test_what_is_in_hand_when_the_connection_breaks_is_entered_once(
    sqlite_store: Store, address: RedisAddress, server: Any, group: StreamGroup
) -> None:
    with proxy_to(address.url) as proxy:
        through = StreamGroup(parse_address(f"{proxy.url(address.url)}?stream=s&group=g"))
        writer, chunks = producer(sqlite_store, through, limit=30, pace=add_uneven(server))
        stream = iter(chunks)
        chunk = next_chunk(stream)
        chunk.add(writer)
        chunk.settle()
        # Its next answer is lost, with 20 entries.
        add(server, 20)
        group.read(consumer_name(LEDGER, writer.job), ">", 20, 0.01)
        proxy.cut()
        chunk = next(stream)
        assert chunk is not None
        assert len(chunk.ids) == 2  # type: ignore[attr-defined]
        chunk.add(writer)
        proxy.restore()
        chunk.settle()
        assert sum(feed(stream, writer)) == 24
        through.close()
    assert value(sqlite_store, "SELECT sum(row_count) FROM chunks") == 30
    assert server.xpending("s", "g")["pending"] == 0
    assert value(sqlite_store, "SELECT count(*) FROM stream_entries") == 0


def test_a_redis_that_stays_away_is_given_up_after_the_patience(
    sqlite_store: Store, tmp_path: Path
) -> None:
    with start_redis(tmp_path) as url:
        group = StreamGroup(parse_address(f"{url}?stream=s&group=g"))
        group.make()
        said: list[str] = []
        _, chunks = producer(sqlite_store, group, patience=1.5, warn=said.append)
        stream = iter(chunks)
        assert next(stream) is None
    with pytest.raises(SourceError, match=r"redis was away for \d s .* still there for the next"):
        list(stream)
    assert len(said) == 1
    group.close()


def test_what_was_read_before_the_stream_was_emptied_is_not_lost(
    sqlite_store: Store, server: Any, group: StreamGroup
) -> None:
    said: list[str] = []
    writer, chunks = producer(
        sqlite_store, group, limit=11, pace=add_uneven(server), warn=said.append
    )
    stream = iter(chunks)
    first = next_chunk(stream)
    server.flushdb()
    server.xadd("s", {"text": "a new life"}, id="1-1")
    first.add(writer)
    first.settle()
    assert feed(stream, writer) == [2, 2, 2, 1]
    assert value(sqlite_store, "SELECT sum(row_count) FROM chunks") == 11
    assert [line.split(" was gone")[0] for line in said] == [str(group.address)]


@pytest.mark.parametrize("made_before", [False, True])
def test_an_entry_of_a_new_life_that_has_an_old_id_is_another_one(
    sqlite_store: Store, server: Any, group: StreamGroup, made_before: bool
) -> None:
    """Its namesake was entered, and its producer died before the acknowledgement."""
    server.xadd("s", {"text": "old"}, id="1-1")
    dead, chunks = producer(sqlite_store, group)
    next_chunk(iter(chunks)).add(dead)
    end(sqlite_store, dead)
    change(sqlite_store, f"UPDATE stream_entries SET entered_at = {past(sqlite_store, 90)}")
    server.flushdb()
    for number in (1, 2):
        server.xadd("s", {"text": f"new {number}"}, id=f"{number}-1")
    # It finds the group gone, or has made it itself before there was a job.
    if made_before:
        assert group.make()
    writer, chunks = producer(sqlite_store, group, limit=2, new_life=made_before)
    assert feed(chunks, writer) == [2]
    assert value(sqlite_store, "SELECT sum(row_count) FROM chunks") == 3
