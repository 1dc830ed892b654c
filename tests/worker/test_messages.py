"""The message of the queue: read back as written, and junk is refused, whatever it is."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.messages import ChunkMessage, MessageRefusedError

JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["v", "ledger", "job", "chunk", "text"]) | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


def test_a_message_is_read_back_as_it_was_written() -> None:
    message = ChunkMessage("0123abcd", 7, 42)
    wire = json.loads(json.dumps(message.to_wire()))
    assert wire == {"v": 1, "ledger": "0123abcd", "job": 7, "chunk": 42}
    assert ChunkMessage.from_wire(wire) == message


def test_the_version_before_is_taken_and_the_one_after_is_not() -> None:
    wire = ChunkMessage("l", 7, 42).to_wire()
    assert ChunkMessage.from_wire({**wire, "v": 0}).v == 0
    with pytest.raises(MessageRefusedError, match="version"):
        ChunkMessage.from_wire({**wire, "v": 2})


@pytest.mark.parametrize(
    "change",
    [
        {"job": "7"}, {"job": 7.0}, {"job": True}, {"job": None}, {"chunk": [42]}, {"ledger": 1},
        {"ledger": None}, {"v": None}, {"v": "1"}, {"v": True}, {"v": 1.0}, {"job": 2**63}, {"chunk": 10**5000}, {"v": [1]}, {"v": {}},
    ],
)  # fmt: skip
def test_a_field_of_another_kind_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(MessageRefusedError):
        ChunkMessage.from_wire({**ChunkMessage("l", 7, 42).to_wire(), **change})


@pytest.mark.parametrize("missing", ["v", "ledger", "job", "chunk"])
def test_a_missing_field_is_refused(missing: str) -> None:
    wire = ChunkMessage("l", 7, 42).to_wire()
    del wire[missing]
    with pytest.raises(MessageRefusedError):
        ChunkMessage.from_wire(wire)


@given(JUNK)
def test_junk_is_refused_and_never_raises_anything_else(junk: object) -> None:
    try:
        message = ChunkMessage.from_wire(junk)
    except MessageRefusedError:
        return
    assert isinstance(junk, dict)
    assert {key: junk[key] for key in ("v", "ledger", "job", "chunk")} == message.to_wire()


def test_a_refusal_repeats_nothing_of_the_message() -> None:
    with pytest.raises(MessageRefusedError) as refused:
        ChunkMessage.from_wire({"v": 1, "text": "my secret", "ledger": "my secret", "job": "x"})
    assert "secret" not in str(refused.value)
