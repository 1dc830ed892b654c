"""The message of another Celery client: what is taken, what is refused, and that no word shows."""

import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from db.ledger.entries import EntryRow, RefusedRow
from db.registry.names import ModelRef
from worker.messages import MessageRefusedError
from worker.texts_message import TextsMessage

SECRET = "xylophonequartz"


def wire(**values: Any) -> dict[str, Any]:
    return {"v": 1, "rows": [{"text": f"{SECRET} one"}], **values}


def row(**values: Any) -> dict[str, Any]:
    return wire(rows=[{"text": "fine"}, {"text": f"{SECRET} two", **values}])


def test_the_least_message_has_a_version_and_a_text() -> None:
    message = TextsMessage.from_wire({"v": 1, "rows": [{"text": "hello"}]})
    assert message == TextsMessage((EntryRow("hello", None, None),), None, None, True)


def test_a_full_message_is_read_as_it_was_written() -> None:
    sent = {
        "v": 1,
        "rows": [
            {"text": "hello", "id": "a-1", "extra": {"user": "me", "n": 2, "x": 0.5, "y": None}},
            {"text": "again", "id": 17, "extra": {"seen": True}},
        ],
        "model": "topics@staging",
        "id_scope": "tickets",
        "store_text": False,
    }
    message = TextsMessage.from_wire(json.loads(json.dumps(sent)))
    assert message.rows == (
        EntryRow("hello", "a-1", {"user": "me", "n": 2, "x": 0.5, "y": None}),
        EntryRow("again", "17", {"seen": True}),
    )
    assert message.model == ModelRef("topics", "staging", None)
    assert message.id_scope == "tickets"
    assert message.store_text is False


@pytest.mark.parametrize(
    "junk",
    [
        None, SECRET, [SECRET], 7, {}, {"rows": [{"text": SECRET}]},
        wire(v=2), wire(v="1"), wire(v=True), wire(v=1.0), wire(v=None),
        wire(rows=[]), wire(rows=None), wire(rows=SECRET), wire(rows={"text": SECRET}),
        wire(rows=[SECRET]), wire(rows=[[SECRET]]), wire(rows=[{}]), wire(rows=[{"text": None}]),
        wire(rows=[{"text": [SECRET]}]), wire(rows=[{"text": 7}]), wire(rows=[{"id": SECRET}]),
        wire(rows=[{"text": "x"}] * 1001),
        wire(rows=[{"text": "x" * 600_000}, {"text": "é" * 300_000}]),
        wire(rows=[{"text": "x", "extra": {"a": "x" * 1_100_000}}]),
        wire(rows=[{"text": "x", "extra": {"x" * 1_100_000: 1}}]),
        wire(texts=[SECRET]), wire(**{SECRET: 1}), row(**{SECRET: 1}), row(label=SECRET),
        wire(model=7), wire(model=f"{SECRET} is no name"), wire(model=""), wire(model="a:0"),
        wire(id_scope=7), wire(id_scope=" "), wire(id_scope="a\0b"), wire(id_scope="\ud800"),
        wire(id_scope="x" * 1_100_000),
        wire(store_text=1), wire(store_text=None), wire(store_text="no"),
        row(id=1.5), row(id=True), row(id=[SECRET]), row(id=2**63), row(id=10**5000),
        row(extra=SECRET), row(extra=[SECRET]), row(extra={"a": [SECRET]}), row(extra={"a": {}}),
        row(extra={"a": math.nan}), row(extra={"a": math.inf}), row(extra={"a": 2**63}),
        row(extra={7: "a"}),
    ],
)  # fmt: skip
def test_what_is_not_such_a_message_is_refused_without_a_word_of_it(junk: object) -> None:
    with pytest.raises(MessageRefusedError) as refused:
        TextsMessage.from_wire(junk)
    assert SECRET not in str(refused.value)


def test_the_largest_message_is_taken() -> None:
    """1,048,576 bytes: of 1,000 texts, and of one."""
    texts = [{"text": "x" * 1048} for _ in range(1000)]
    assert len(TextsMessage.from_wire(wire(rows=texts)).rows) == 1000
    assert len(TextsMessage.from_wire(wire(rows=[{"text": "x" * 1_048_576}])).rows) == 1
    with pytest.raises(MessageRefusedError, match="more than 1,048,576 bytes"):
        TextsMessage.from_wire(wire(rows=[{"text": "x" * 1_048_577}]))


@pytest.mark.parametrize(
    ("bad", "reason", "raw"),
    [
        ({"text": ""}, "empty text", ""),
        ({"text": " \t\n"}, "empty text", " \t\n"),
        ({"text": "a\0b"}, "NUL character", "a\\x00b"),
        ({"text": "a\ud800"}, "lone surrogate", "a\\ud800"),
        ({"text": "a", "id": "x\0"}, "NUL character", "a"),
        ({"text": "a", "id": "x" * 1001}, "id over 1,000 characters", "a"),
        ({"text": "a", "extra": {"k": "\udfff"}}, "lone surrogate", "a"),
        ({"text": "a", "extra": {"k\0": "v"}}, "NUL character", "a"),
    ],
)
def test_a_row_that_cannot_be_labelled_refuses_itself_alone(
    bad: dict[str, Any], reason: str, raw: str
) -> None:
    message = TextsMessage.from_wire(wire(rows=[{"text": "one"}, bad, {"text": "three"}]))
    assert message.rows == (
        EntryRow("one", None, None),
        RefusedRow(None, reason, raw),
        EntryRow("three", None, None),
    )


def test_a_refused_row_is_not_kept_where_no_text_is_to_be() -> None:
    message = TextsMessage.from_wire(wire(rows=[{"text": "a\0b"}], store_text=False))
    assert message.rows == (RefusedRow(None, "NUL character", None),)


JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["v", "rows", "text", "id", "extra", "model", "id_scope"])
            | st.text(max_size=5),
            inner,
            max_size=6,
        )
    ),
    max_leaves=12,
)


@given(JUNK | st.fixed_dictionaries({"v": st.just(1), "rows": st.lists(JUNK, max_size=3)}))
def test_junk_never_raises_anything_but_a_refusal(junk: object) -> None:
    try:
        message = TextsMessage.from_wire(junk)
    except MessageRefusedError:
        return
    assert message.rows
