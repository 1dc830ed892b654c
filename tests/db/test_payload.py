"""What goes into the ledger comes out of it."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from db.ledger.payload import ChunkRows, pack, unpack

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=50)
CELLS = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | TEXTS
ROWS = st.tuples(
    st.integers(1, 2**53), TEXTS, st.none() | TEXTS, st.none() | st.dictionaries(TEXTS, CELLS)
)


@settings(max_examples=50)
@given(st.lists(ROWS, max_size=20), st.booleans())
def test_a_payload_goes_there_and_back(
    rows: list[tuple[int, str, str | None, dict[str, Any] | None]], with_extra: bool
) -> None:
    columns = ChunkRows(
        [row[0] for row in rows],
        [row[1] for row in rows],
        [row[2] for row in rows],
        [row[3] for row in rows] if with_extra else None,
    )
    assert unpack(pack(columns)) == columns


def test_a_payload_is_small() -> None:
    rows = ChunkRows(list(range(256)), ["the same text again"] * 256, [None] * 256)
    assert len(pack(rows)) < 1000
