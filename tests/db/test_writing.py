"""Labelled rows into their table, by the way that each database has for many at once."""

import re

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from db.store import Store, driver_cursor, may_pass
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
