"""JSON Lines: an object a line; everything else is a reject of its line."""

import json
from pathlib import Path

import pytest

from db.errors import UsageError
from tests.producer.reading import read_bytes


def test_what_is_no_usable_object_is_rejected_with_its_line(tmp_path: Path) -> None:
    lines = [
        '{"id": 1, "text": "one"}',
        "[1, 2]",
        '"text"',
        "{broken",
        "",
        "   ",
        '{"id": 2}',
        '{"id": 3, "text": null}',
        '{"id": 4, "text": 5}',
        '{"id": 5, "text": "  "}',
        '{"id": 6, "text": "a\\u0000b"}',
        '{"id": 7, "text": "\\ud800"}',
        '{"id": 8, "text": "\\ud83d\\ude42"}',
        '{"id": "\\ud800", "text": "x"}',
        '{"id": true, "text": "x"}',
        '{"id": "' + "i" * 1001 + '", "text": "x"}',
        '{"id": 9, "text": NaN}',
        "[" * 100_000,
        '{"id": ' + "9" * 5000 + ', "text": "x"}',
        '{"id": 10, "text": "last"}',
    ]
    result = read_bytes(tmp_path, "\n".join(lines), "rows.jsonl")
    assert [(row.external_id, row.text) for row in result.rows] == [
        ("1", "one"),
        ("8", "🙂"),
        ("10", "last"),
    ]
    assert result.reasons == [
        (2, "not a JSON object"),
        (3, "not a JSON object"),
        (4, "invalid JSON"),
        (7, "no text field"),
        (8, "null text"),
        (9, "text is not a string"),
        (10, "empty text"),
        (11, "NUL character"),
        (12, "lone surrogate"),
        (14, "lone surrogate"),
        (15, "id is neither a string nor a number"),
        (16, "id over 1,000 characters"),
        (17, "invalid JSON"),
        (18, "invalid JSON"),
        (19, "invalid JSON"),
    ]


def test_bad_bytes_reject_their_line_only(tmp_path: Path) -> None:
    content = b'\xef\xbb\xbf{"text": "a"}\r\n{"text": "\xff"}\r\n{"text": "\x00"}\r\n{"text": "b"}'
    result = read_bytes(tmp_path, content, "rows.ndjson")
    assert result.texts == ["a", "b"]
    assert result.reasons == [(2, "invalid utf-8"), (3, "NUL character")]


def test_numbers_as_ids_become_text_exactly(tmp_path: Path) -> None:
    ids = ["1", "12345678901234567890123", "1.5", '"007"', "null"]
    lines = [f'{{"id": {each}, "text": "x"}}' for each in ids]
    result = read_bytes(tmp_path, "\n".join([*lines, '{"text": "x"}']), "rows.jsonl")
    assert [row.external_id for row in result.rows] == [
        "1", "12345678901234567890123", "1.5", "007", None, None,
    ]  # fmt: skip


def test_of_duplicate_keys_the_last_one_counts(tmp_path: Path) -> None:
    assert read_bytes(tmp_path, '{"text": "a", "text": "b"}\n', "a.jsonl").texts == ["b"]


def test_kept_columns_are_plain_values_or_their_json(tmp_path: Path) -> None:
    row = {"text": "t", "a": 1, "b": [1, "é"], "c": None, "d": True, "f": 2**70, "g": 0.5}
    lines = [json.dumps(row), '{"text": "u", "g": 1e999, "a": "\\u0000"}', '{"text": "v"}']
    result = read_bytes(
        tmp_path, "\n".join(lines), "a.jsonl", keep_columns=("a", "b", "c", "d", "f", "g")
    )
    assert [row.extra for row in result.rows] == [
        {"a": 1, "b": '[1, "é"]', "c": None, "d": True, "f": str(2**70), "g": 0.5},
        dict.fromkeys("abcdfg"),
    ]
    assert result.reasons == [(2, "NUL character")]


def test_columns_are_those_of_the_first_hundred_lines(tmp_path: Path) -> None:
    lines = ['{"n": 1, "comment": "hello there", "at": "2024-01-01"}'] * 2
    result = read_bytes(tmp_path, "\n".join(lines), "a.jsonl")
    assert result.texts == ["hello there"] * 2
    assert result.notes == ["text column 'comment' guessed (the only one with text)"]
    with pytest.raises(UsageError, match="columns are: n, comment, at; did you mean 'comment'"):
        read_bytes(tmp_path, "\n".join(lines), "a.jsonl", text_column="coment")


def test_a_file_without_any_object_is_refused_unless_its_columns_are_named(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="JSON object"):
        read_bytes(tmp_path, "[1]\n[2]\n", "a.jsonl")
    assert len(read_bytes(tmp_path, "[1]\n[2]\n", "a.jsonl", text_column="text").rejects) == 2


def test_lines_of_more_than_a_megabyte_are_read(tmp_path: Path) -> None:
    lines = [json.dumps({"text": "x" * 2_000_000}), json.dumps({"text": "y" * 17_000_000}), "{}"]
    result = read_bytes(tmp_path, "\n".join(lines), "a.jsonl")
    assert [len(text) for text in result.texts] == [2_000_000]
    assert result.reasons == [(2, "row over 16 MB"), (3, "no text field")]
