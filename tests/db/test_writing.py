"""Labelled rows into their table, by the way that each database has for many at once."""

import json
import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import select, text
from sqlalchemy.exc import DBAPIError

from db.ledger.claiming import Claim
from db.ledger.results import ChunkResult
from db.schema import LabeledText, table_of
from db.store import Store, driver_cursor, dump_json, may_pass
from tests.db.breaking import Breaking
from tests.db.closings import close_chunk
from tests.db.ledger_parts import add, begin, held, result_of, value


# Around the sizes of the statements: see `_BLOCKS`.
@pytest.mark.parametrize("rows", [1, 3, 85, 255, 256, 257, 700])
def test_a_chunk_of_any_size_is_written_whole_and_in_its_columns(store: Store, rows: int) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, rows))
    assert close_chunk(store, taken, result_of(taken))
    with store.read() as connection:
        found = connection.execute(
            text(
                "SELECT row_number, external_id, text, label, confidence, truncated, unsure, labels, "
                "extra, model, model_version, engine FROM labeled_texts ORDER BY row_number"
            )
        ).all()
        times = connection.execute(
            text("SELECT DISTINCT t.labeled_at, c.done_at FROM labeled_texts t, chunks c")
        ).all()
    shared = ("joy", 0.75, False, False, None, None, "emotion", 1, "constant")
    assert [tuple(row) for row in found] == [
        (n, f"id-{n}", f"text {n}", *shared) for n in range(1, rows + 1)
    ]
    assert len(times) == 1, "all rows of a chunk are labelled when it is closed"
    assert times[0].labeled_at == times[0].done_at


#: What COPY's format, or SQL's, could take for something else.
_ODD = [
    *("a\tb", "a\nb", "a\r\nb", "\\", "\\N", "\\.", "\\t", "ends\\", "'quoted'", '"', "", " "),
    *("\x01\x7f", "\u2028\x85", "日本", "😀", "%s ?1 :name $1 {}", "null", "NULL", "\\\\\t\\\n"),
]


def _odd(taken: Claim, odd: Sequence[str]) -> ChunkResult:
    """Return a result of which each second value that may be null is."""
    plain = result_of(taken)
    places = range(len(odd))
    scores = [dump_json({each: 0.1, "b\\": 1e-06}) for each in odd]
    labeled = replace(
        plain.labeled,
        external_ids=[odd[place] if place % 2 else None for place in places],
        texts=odd,
        truncated=[place % 3 == 0 for place in places],
        labels=odd,
        confidences=[place / 7 for place in places],
        scores=scores,
        every_label=[dump_json([odd[place]]) if place % 2 else None for place in places],
        unsure=[place % 2 == 0 for place in places],
        extra=[None if place % 2 else scores[place] for place in places],
    )
    return replace(plain, model="a\tb\\", engine="\\N", labeled=labeled)


@pytest.mark.parametrize("null", [(), ("external_ids", "every_label", "extra")])
def test_any_value_is_stored_as_it_is(
    store: Store, null: tuple[str, ...], caplog: pytest.LogCaptureFixture
) -> None:
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, len(_ODD)))
    result = _odd(taken, _ODD)
    nothing: dict[str, Any] = dict.fromkeys(null, [None] * len(_ODD))
    given = replace(result.labeled, **nothing)
    assert close_chunk(store, taken, replace(result, labeled=given))
    assert "row by row" not in caplog.text, "what is written at once is what is looked at here"
    with store.read() as connection:
        rows = connection.execute(
            select(table_of(LabeledText)).order_by(table_of(LabeledText).c.row_number)
        ).all()
    for place, row in enumerate(rows):
        assert (row.model, row.engine) == ("a\tb\\", "\\N")
        assert (row.external_id, row.text) == (given.external_ids[place], given.texts[place])
        assert (row.truncated, row.unsure) == (given.truncated[place], given.unsure[place])
        assert (row.label, row.confidence) == (given.labels[place], given.confidences[place])
        assert row.scores == json.loads(given.scores[place])
        for found, kept in ((row.labels, given.every_label), (row.extra, given.extra)):
            assert found == json.loads(kept[place] or "null")
    assert len(rows) == len(_ODD)


def test_a_text_that_the_database_cannot_keep_is_the_only_one_that_is_rejected(
    postgres_store: Store,
) -> None:
    store = postgres_store
    writer = begin(store)
    taken = held(store, writer.job, add(writer, 1, 3))
    result = result_of(taken)
    texts = ["good", "a\x00b", "also\tgood"]
    assert close_chunk(store, taken, replace(result, labeled=replace(result.labeled, texts=texts)))
    assert value(store, "SELECT count(*) FROM labeled_texts") == 2
    assert value(store, "SELECT raw FROM rejects") == "a\\x00b"


def test_rows_that_are_there_already_are_written_over(store: Store) -> None:
    writer = begin(store)
    number = add(writer, 1, 300)
    first = held(store, writer.job, number)
    assert close_chunk(store, first, result_of(first, "anger", version=1))
    with store.write() as connection:
        connection.execute(
            text("UPDATE chunks SET state = 'leased', lease_token = :token"),
            {"token": first.token},
        )
    assert close_chunk(store, first, result_of(first, "joy", version=2))
    query = "SELECT count(*) FROM labeled_texts WHERE label = 'joy' AND model_version = 2"
    assert value(store, query) == value(store, "SELECT count(*) FROM labeled_texts") == 300


def test_an_error_of_a_copy_names_no_value_and_leaves_the_store_in_order(
    postgres_store: Store,
) -> None:
    copy = "COPY leases (name, holder, until) FROM STDIN"
    with (
        pytest.raises(DBAPIError, match="invalid input syntax") as raised,
        postgres_store.write() as connection,
        driver_cursor(connection, copy) as cursor,
        cursor.copy(copy) as rows,
    ):
        rows.write("duty\tsecret text\tno time\n")
    assert "secret" not in str(raised.value)
    assert not may_pass(raised.value)
    assert not re.search("CONTEXT|line 1", str(raised.value))
    assert value(postgres_store, "SELECT count(*) FROM leases") == 0


def test_a_connection_that_is_lost_in_a_copy_may_pass(postgres_store: Store) -> None:
    def lose() -> None:
        with (
            postgres_store.write() as connection,
            driver_cursor(connection, "COPY") as cursor,
        ):
            Breaking(postgres_store).end_backend(connection)
            cursor.execute("SELECT 1")

    with pytest.raises(DBAPIError) as raised:
        lose()
    assert raised.value.connection_invalidated
    assert may_pass(raised.value)
    assert value(postgres_store, "SELECT count(*) FROM leases") == 0
