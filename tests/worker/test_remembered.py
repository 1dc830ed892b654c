"""The memory of logits: bounded in bytes, each version's for itself."""

import os
import tracemalloc

from worker.remembered import ENTRY_BYTES, LogitsMemory

#: A key of 4 bytes and the logits of two labels.
SIZE = ENTRY_BYTES + 4 + 8


def row(name: str) -> tuple[bytes, bytes]:
    """Return a key and logits that nobody else has."""
    return name.encode() * 4, name.encode() * 8


def test_of_too_many_bytes_the_row_that_was_used_least_recently_leaves() -> None:
    memory = LogitsMemory(3 * SIZE)
    version = memory.of_version()
    version.keep([row("a"), row("b"), row("c")])
    assert memory.bytes_held == 3 * SIZE
    assert version.find([b"aaaa"]) == [b"a" * 8]
    version.keep([row("d")])
    assert version.find([b"aaaa", b"bbbb", b"cccc", b"dddd"]) == [
        b"a" * 8,
        None,
        b"c" * 8,
        b"d" * 8,
    ]
    assert memory.bytes_held == 3 * SIZE


def test_long_rows_count_for_what_they_take() -> None:
    memory = LogitsMemory(3 * SIZE)
    version = memory.of_version()
    version.keep([row("a"), row("b"), (b"long" * 2**16, b"x" * 8)])
    assert memory.bytes_held == 0, "one that does not fit leaves as well"
    version.keep([(b"i" * (SIZE + 4), b"x" * 8), row("c")])
    assert version.find([b"i" * (SIZE + 4), b"cccc"]) == [b"x" * 8, b"c" * 8]
    version.keep([row("d")])
    assert version.find([b"i" * (SIZE + 4), b"cccc", b"dddd"]) == [None, b"c" * 8, b"d" * 8]


def test_no_version_finds_what_another_has_computed() -> None:
    memory = LogitsMemory(10 * SIZE)
    one, two = memory.of_version(), memory.of_version()
    one.keep([(b"same", b"of one..")])
    assert two.find([b"same"]) == [None]
    two.keep([(b"same", b"of two..")])
    assert one.find([b"same"]) == [b"of one.."]
    assert two.find([b"same"]) == [b"of two.."]


def test_a_version_that_is_not_used_makes_room_for_the_one_that_is() -> None:
    memory = LogitsMemory(3 * SIZE)
    old, new = memory.of_version(), memory.of_version()
    old.keep([row("a"), row("b")])
    new.keep([row("c"), row("d")])
    assert new.find([b"cccc", b"dddd"]) == [b"c" * 8, b"d" * 8]
    assert old.find([b"aaaa", b"bbbb"]) == [None, b"b" * 8]
    new.keep([row("e")])
    assert old.find([b"bbbb"]) == [None]


def test_a_version_whose_rows_are_only_found_is_in_use_too() -> None:
    memory = LogitsMemory(3 * SIZE)
    old, idle, new = memory.of_version(), memory.of_version(), memory.of_version()
    old.keep([row("a")])
    idle.keep([row("b")])
    assert old.find([b"aaaa"]) == [b"a" * 8]
    new.keep([row("c"), row("d")])
    assert idle.find([b"bbbb"]) == [None]
    assert old.find([b"aaaa"]) == [b"a" * 8]


def test_a_version_that_leaves_takes_its_rows_along_and_keeps_none_afterwards() -> None:
    memory = LogitsMemory(10 * SIZE)
    leaving, staying = memory.of_version(), memory.of_version()
    leaving.keep([row("a"), row("b")])
    staying.keep([row("c")])
    leaving.forget()
    assert memory.bytes_held == SIZE
    leaving.keep([row("d")])
    assert leaving.find([b"aaaa", b"dddd"]) == [None, None]
    assert memory.bytes_held == SIZE
    assert staying.find([b"cccc"]) == [b"c" * 8]


def test_a_memory_of_no_bytes_keeps_nothing() -> None:
    memory = LogitsMemory(0)
    version = memory.of_version()
    version.keep([row("a")])
    assert version.find([b"aaaa"]) == [None]
    assert memory.bytes_held == 0


def test_the_bytes_that_are_counted_are_no_fewer_than_those_that_are_taken() -> None:
    # 22 tokens of int32 and 6 labels of float32 a row; and a few more rows than fill two thirds of
    # a table of 4,096, so that it has just grown: where an entry takes most.
    limit = 2800 * (ENTRY_BYTES + 88 + 24)
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        memory = LogitsMemory(limit)
        version = memory.of_version()
        for _ in range(2 * 2800):
            version.keep([(os.urandom(88), os.urandom(24))])
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert memory.bytes_held == limit, "it is full"
    assert limit / 2 < taken <= limit
