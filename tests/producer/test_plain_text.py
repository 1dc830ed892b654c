"""Plain text: a line is a text, and a blank line is a rejected one."""

from pathlib import Path

import pytest

from db.errors import UsageError
from tests.producer.reading import read_bytes


@pytest.mark.parametrize("name", ["a.txt", "a.log", "without_extension"])
def test_every_line_is_a_row(tmp_path: Path, name: str) -> None:
    content = b'\xef\xbb\xbffirst, "line\r\n\n  \nb\x00d\n\xff\rlast  '
    result = read_bytes(tmp_path, content, name)
    assert result.texts == ['first, "line', "last  "]
    assert result.reasons == [
        (2, "empty text"),
        (3, "empty text"),
        (4, "NUL character"),
        (5, "invalid utf-8"),
    ]
    assert not any("guessed" in note for note in result.notes)
    assert any("plain text" in note for note in result.notes) == (name == "without_extension")


def test_a_line_over_16_mb_is_rejected(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, b"a\n" + b"b" * (20 << 20) + b"\nc\n", "a.txt")
    assert result.texts == ["a", "c"]
    assert result.reasons == [(2, "row over 16 MB")]


def test_it_has_one_column(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="its columns are: text"):
        read_bytes(tmp_path, "a\n", "a.txt", id_column="id")


def test_an_unknown_extension_asks_for_the_format(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"extension \.xml; say how it is written: --format"):
        read_bytes(tmp_path, "<a/>\n", "a.xml")
    assert read_bytes(tmp_path, "text\na\n", "a.xml", format="csv").texts == ["a"]
    with pytest.raises(UsageError, match="unknown format 'xml'"):
        read_bytes(tmp_path, "text\na\n", "a.csv", format="xml")


def test_a_binary_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="is binary"):
        read_bytes(tmp_path, bytes(range(256)) * 100, "a.txt")
