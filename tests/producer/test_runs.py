"""Rows that are read in runs make the chunks that rows read one by one make, to the byte."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.row_rules import MAX_ID_CHARACTERS
from producer import lines
from producer.chunking import RowChunk, chunked
from producer.reader import Reader
from producer.rows import Position, Row, RowRun
from tests.producer.reading import reader_of

#: Rows of three columns that make runs; and what looks like some, or breaks them.
GOOD = (
    *("1,good text,a", "2,another one,b", "3,a third,", ",no id,c", "4,größer als ASCII 日本,d"),
    *('5,"quoted, with a comma",e', '6,"with ""quotes""",f', "7,a\ttab and a \\,g"),
)
ODD = (
    *('8,a "quote" within,h', '9,"",i', '10,"over\ntwo lines",j', '11,"never closed,k'),
    *('12,"closed" late,l', "", "  ", ",,", "13,,m", "14,   ,n", "15,too few"),
    *("16,too,many,fields", "17,NUL\0,o", f"{'1' * (MAX_ID_CHARACTERS + 1)},id too long,p"),
    *(f"18,{'long ' * 60},q", "19,\x85,r"),
)
FILES = st.lists(st.sampled_from(GOOD * 20 + ODD), max_size=60).flatmap(
    lambda chosen: st.builds(
        lambda ends: "".join(line + end for line, end in zip(chosen, ends, strict=True)),
        st.lists(
            st.sampled_from(["\n", "\n", "\n", "\r\n", "\r"]),
            min_size=len(chosen),
            max_size=len(chosen),
        ),
    )
)


def chunks(
    reader: Reader, read: Callable[..., Any], rows: int, size: int
) -> Iterator[tuple[RowChunk, Position]]:
    for chunk in chunked(read, rows, chunk_bytes=size):
        yield chunk, reader.position


@settings(
    max_examples=400, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    FILES,
    st.integers(1, 9),
    st.sampled_from([1, 40, 300, 1 << 20]),
    st.booleans(),
    st.sampled_from([16, 100, 1 << 16]),
    st.none() | st.integers(1, 50),
)
def test_runs_make_the_same_chunks_and_end_at_the_same_places(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    content: str,
    rows: int,
    size: int,
    keep: bool,
    block: int,
    limit: int | None,
) -> None:
    monkeypatch.setattr(lines, "BLOCK_BYTES", block)
    path = tmp_path / "rows.csv"
    path.write_bytes(f"id,text,kept\n{content}1,last,z\n".encode())
    options: dict[str, Any] = {
        "text_column": "text",
        "id_column": "id",
        "keep_columns": ("kept",) if keep else (),
        "limit": limit,
        "delimiter": ",",
    }
    in_runs, by_rows = reader_of(path, **options), reader_of(path, **options)
    found = list(chunks(in_runs, in_runs.runs, rows, size))
    assert found == list(chunks(by_rows, lambda _: by_rows, rows, size))
    assert sum(len(chunk) for chunk, _ in found) == found[-1][1].row


def test_a_plain_file_is_read_in_runs_that_end_with_their_chunks(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n" + "".join(f'{n},"text, {n}"\n' for n in range(1, 601)))
    reader = reader_of(path)
    items: list[object] = []

    def read(room: Callable[[], tuple[int, int]]) -> Iterator[Any]:
        for item in reader.runs(room):
            items.append(item)
            yield item

    assert [len(chunk) for chunk in chunked(read, 256)] == [256, 256, 88]
    assert all(isinstance(item, RowRun) for item in items)
    assert len(items) <= 5, "a run ends with its chunk, or with a block of the file"


def test_one_row_that_is_none_costs_its_neighbours_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text("id,text\n1,one\n2,\n3,three\n")
    reader = reader_of(path)
    (chunk,) = chunked(reader.runs, 256)
    assert chunk.rows.texts == ["one", "three"]
    assert [(reject.row_number, reject.line) for reject in chunk.rejects] == [(2, 3)]
    assert all(isinstance(item, Row) for item in reader_of(path) if item.row_number != 2)
