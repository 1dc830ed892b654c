"""Parquet: read by batches, of whatever kind of string."""

import datetime
import decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db.errors import UsageError
from producer.reader import Reader
from producer.rows import ReadOptions
from producer.sources import resolve_sources
from tests.producer.reading import Read, read


def read_table(folder: Path, columns: dict[str, Any], **options: Any) -> Read:
    path = folder / "rows.parquet"
    pq.write_table(pa.table(columns), path)
    return read(path, **options)


@pytest.mark.parametrize(
    "kind", [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())]
)
def test_every_kind_of_string_is_text(tmp_path: Path, kind: pa.DataType) -> None:
    texts = pa.array(["one", None, "", "two 🙂", "a\0b", "one"], pa.string()).cast(kind)
    result = read_table(tmp_path, {"n": [1, 2, 3, 4, 5, 6], "words": texts})
    assert result.texts == ["one", "two 🙂", "one"]
    assert result.reasons == [(2, "null text"), (3, "empty text"), (5, "NUL character")]
    assert result.notes == ["text column 'words' guessed (the only one with text)"]


def test_a_text_column_that_is_no_string_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="column 'text' is int64, not a string"):
        read_table(tmp_path, {"text": [1, 2]})
    with pytest.raises(UsageError, match="columns of strings: words"):
        read_table(tmp_path, {"text": [1], "words": ["a"]})
    with pytest.raises(UsageError, match=r"id column 'id' is list<"):
        read_table(tmp_path, {"text": ["a"], "id": [[1]]})
    with pytest.raises(UsageError, match=r"no column 'txt'; .*did you mean 'text'"):
        read_table(tmp_path, {"text": ["a"]}, text_column="txt")


def test_ids_and_kept_columns_become_plain_values(tmp_path: Path) -> None:
    table = {
        "text": ["a", "b"],
        "id": [2**60, None],
        "day": pa.array([datetime.date(2024, 1, 31), None]),
        "at": pa.array([1, 1_000_000_001], pa.timestamp("ns")),
        "price": pa.array([decimal.Decimal("1.50"), None]),
        "share": [0.5, float("nan")],
        "tags": [["x"], []],
        "ok": [True, None],
        "raw": [b"\xff", b""],
    }
    keep = ("day", "at", "price", "share", "tags", "ok", "raw")
    result = read_table(tmp_path, table, keep_columns=keep)
    assert [row.external_id for row in result.rows] == [str(2**60), None]
    assert [row.extra for row in result.rows] == [
        {"day": "2024-01-31", "at": "1970-01-01 00:00:00.000000001", "price": "1.50",
         "share": 0.5, "tags": '["x"]', "ok": True, "raw": "ff"},
        {"day": None, "at": "1970-01-01 00:00:01.000000001", "price": None,
         "share": None, "tags": "[]", "ok": None, "raw": ""},
    ]  # fmt: skip
    assert read_table(tmp_path, table, id_column="day").rows[0].external_id == "2024-01-31"


def test_bytes_that_are_no_utf_8_reject_their_row_only(tmp_path: Path) -> None:
    texts = pa.array([b"good", b"\xff", b"fine"], pa.binary()).view(pa.string())
    result = read_table(tmp_path, {"text": texts})
    assert result.texts == ["good", "fine"]
    assert result.reasons == [(2, "invalid utf-8")]


def test_reading_goes_on_from_any_row_over_row_groups(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    texts = ["" if n % 7 == 0 else f"row {n}" for n in range(1, 101)]
    pq.write_table(pa.table({"text": texts}), path, row_group_size=9)
    sources = resolve_sources([str(path)])
    reader = Reader(sources, ReadOptions())
    items, places = [], []
    for item in reader:
        items.append(item)
        places.append(reader.position)
    assert (len(items), sum(hasattr(item, "reason") for item in items)) == (100, 14)
    assert reader.progress == (path.stat().st_size, path.stat().st_size)
    for at in (0, 7, 8, 9, 50, 98, 99):
        assert list(Reader(sources, ReadOptions(), places[at])) == items[at + 1 :]


def test_a_file_that_is_no_parquet_or_damaged_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    for content, says in [(b"", "is empty"), (b"PAR1 nonsense", "cannot be read as Parquet")]:
        path.write_bytes(content)
        with pytest.raises(UsageError, match=says) as error:
            read(path)
        assert "\n" not in str(error.value)


def test_damage_inside_is_told_after_the_rows_before_it(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    table = pa.table({"text": [f"{n} text" for n in range(10_000)]})
    pq.write_table(table, path, row_group_size=1000, compression="gzip", use_dictionary=False)
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 2000] = bytes(2000)
    path.write_bytes(content)
    result = read(path)
    assert result.error is not None
    assert result.error.exit_status == 1
    assert result.texts == [f"{n} text" for n in range(len(result.texts))]
    assert 1000 <= len(result.texts) < 9000


def test_a_file_that_announces_other_rows_than_it_has_breaks_off(tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": [f"text {n}" for n in range(20)]}), path, row_group_size=7)
    content = path.read_bytes()
    # Of the footer: num_rows, 20 as a zigzag varint, before the list of three row groups.
    announced = b"\x16\x28\x19\x3c"
    assert content.count(announced) == 1
    path.write_bytes(content.replace(announced, b"\x16\x2c\x19\x3c"))
    found = read(path)
    assert len(found.rows) == 20
    assert found.error is not None
    assert "broke off after 20 rows: it has not the rows that it announces" in str(found.error)
