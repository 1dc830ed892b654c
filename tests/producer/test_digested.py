"""What was read before a place is told by its digest, and a line without end is not kept for it."""

import hashlib
import io

import pytest

from producer import live_rows
from producer.live_rows import Digested


class Bytes(io.BytesIO):
    """A stream of bytes as the producer reads them."""

    @property
    def consumed(self) -> int:
        return self.tell()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def test_each_place_has_the_digest_of_all_before_it() -> None:
    content = bytes(range(256)) * 10
    stream = Digested(Bytes(content))
    assert stream.before(0) == sha256(b"")
    stream.read(1000)
    assert stream.before(7) == sha256(content[:7])
    assert stream.before(900) == sha256(content[:900])
    stream.read(1000)
    assert stream.before(1500) == sha256(content[:1500])


def test_what_lies_far_behind_is_let_go_and_not_known_any_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(live_rows, "_AHEAD_BYTES", 100)
    content = bytes(range(256)) * 10
    stream = Digested(Bytes(content))
    for _ in range(20):
        stream.read(64)
        assert len(stream._ahead) <= 100
    assert stream.before(500) == ""
    assert stream.before(1270) == sha256(content[:1270])
