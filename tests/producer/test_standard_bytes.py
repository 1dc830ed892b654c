"""The bytes of a pipe: as they come, to the end of the line that has begun when it is drained."""

import os
import pty
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from db.errors import UsageError
from producer import standard_bytes
from producer.rows import ReadingStopped, SourceError
from producer.standard_bytes import StandardBytes


@dataclass
class Pipe:
    reading: int
    writing: int

    def write(self, data: bytes) -> None:
        os.write(self.writing, data)


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    ends = Pipe(*os.pipe())
    yield ends
    for end in (ends.reading, ends.writing):
        try:
            os.close(end)
        except OSError:
            continue


def test_a_read_returns_what_is_there(pipe: Pipe) -> None:
    stream = StandardBytes(pipe.reading, continues=False)
    pipe.write(b"one\ntw")
    assert stream.read(100) == b"one\ntw"
    pipe.write(b"o\n")
    assert stream.read(1) == b"o"
    assert stream.read(100) == b"\n"
    assert stream.consumed == 8


def test_at_its_end_nothing_comes_however_often_it_is_read(pipe: Pipe) -> None:
    stream = StandardBytes(pipe.reading, continues=True)
    os.close(pipe.writing)
    assert [stream.read(100), stream.read(100)] == [b"", b""]
    stream.drain.set()
    assert stream.read(100) == b"", "its end is its end, also when it is drained"


def test_a_terminal_is_not_read_on_after_its_end_was_typed() -> None:
    terminal, typed = pty.openpty()
    try:
        stream = StandardBytes(typed, continues=False)
        os.write(terminal, b"one\n\x04two\n")
        assert [stream.read(100), stream.read(100), stream.read(100)] == [b"one\n", b"", b""]
    finally:
        os.close(terminal)
        os.close(typed)


@pytest.mark.parametrize("continues", [False, True])
def test_a_drain_reads_the_line_that_has_begun_and_not_a_byte_more(
    pipe: Pipe, continues: bool
) -> None:
    stream = StandardBytes(pipe.reading, continues=continues)
    pipe.write(b"one\ntw")
    assert stream.read(100) == b"one\ntw"
    stream.drain.set()
    pipe.write(b"o\nthree\n")
    assert stream.read(100) == b"o\n"
    if continues:
        with pytest.raises(ReadingStopped):
            stream.read(100)
    else:
        assert stream.read(100) == b""
    assert os.read(pipe.reading, 100) == b"three\n"


@pytest.mark.parametrize("continues", [False, True])
def test_a_line_that_does_not_end_is_not_waited_for_long(
    pipe: Pipe, continues: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(standard_bytes, "_LINE_SECONDS", 0.1)
    stream = StandardBytes(pipe.reading, continues=continues)
    pipe.write(b"one\ntw")
    stream.read(100)
    stream.drain.set()
    if continues:
        with pytest.raises(ReadingStopped):
            stream.read(100)
    else:
        assert stream.read(100) == b""


def test_a_drain_ends_a_read_that_waits(pipe: Pipe) -> None:
    stream = StandardBytes(pipe.reading, continues=False)
    read: list[bytes] = []
    thread = threading.Thread(target=lambda: read.append(stream.read(100)), daemon=True)
    thread.start()
    stream.drain.set()
    thread.join(timeout=30)
    assert read == [b""]


def test_a_drain_ends_a_writer_that_never_pauses(pipe: Pipe) -> None:
    stream = StandardBytes(pipe.reading, continues=False)
    pipe.write(b"y\n" * 1000)
    stream.read(100)
    stream.drain.set()
    assert stream.read(100) == b"", "between two lines, what is ready is left"


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    folder = os.open(tmp_path, os.O_RDONLY)
    try:
        with pytest.raises(SourceError, match="standard input cannot be read: Is a directory"):
            StandardBytes(folder, continues=False).read(100)
        # A job that can go on is not to end for it.
        with pytest.raises(UsageError, match="standard input cannot be read: Is a directory"):
            StandardBytes(folder, continues=True).read(100)
    finally:
        os.close(folder)
