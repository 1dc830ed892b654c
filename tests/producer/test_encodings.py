"""Encodings: by option, by byte-order mark, and what cannot be decoded."""

import codecs
from pathlib import Path

import pytest

from db.errors import UsageError
from producer.encodings import find_encoding
from tests.producer.reading import read_bytes

TEXTS = ["héllo, wörld", "日本語 🙂", 'say "hi"\r\nthere', "e\u0301 \u200b שלום"]
CSV = "id,text\r\n" + "".join(
    '{},"{}"\r\n'.format(n, text.replace('"', '""')) for n, text in enumerate(TEXTS, 1)
)


@pytest.mark.parametrize(
    ("mark", "codec", "name"),
    [
        (codecs.BOM_UTF8, "utf-8", "utf-8"),
        (codecs.BOM_UTF16_LE, "utf-16-le", "utf-16"),
        (codecs.BOM_UTF16_BE, "utf-16-be", "utf-16"),
        (codecs.BOM_UTF32_LE, "utf-32-le", "utf-32"),
        (codecs.BOM_UTF32_BE, "utf-32-be", "utf-32"),
    ],
)
@pytest.mark.parametrize("asked", ["utf-8", "latin-1"])
def test_a_byte_order_mark_tells_the_encoding(
    tmp_path: Path, mark: bytes, codec: str, name: str, asked: str
) -> None:
    result = read_bytes(tmp_path, mark + CSV.encode(codec), encoding=asked)
    assert result.texts == TEXTS
    assert any(f"read as {name}" in note for note in result.notes) == (asked != name)


@pytest.mark.parametrize("codec", ["utf-16-le", "utf-16-be", "utf-32-le", "utf-16"])
def test_utf_16_and_32_are_read_without_a_mark_when_they_are_named(
    tmp_path: Path, codec: str
) -> None:
    assert read_bytes(tmp_path, CSV.encode(codec), encoding=codec).texts == TEXTS


@pytest.mark.parametrize(
    ("codec", "text"),
    [
        ("latin-1", "café §"),
        ("cp1252", "“café” €"),
        ("koi8-r", "привет"),
        ("shift_jis", "表|ソ\\ 日本"),
        ("gb18030", "中文|\U00020000"),
        ("cp500", "EBCDIC"),
        ("utf-7", "a+b £"),
        ("iso2022_jp", "日本語"),
    ],
)
def test_other_encodings_are_read_by_name(tmp_path: Path, codec: str, text: str) -> None:
    result = read_bytes(
        tmp_path, f"id|text\n1|{text if '|' not in text else text.replace('|', '-')}\n".encode(codec),
        encoding=codec, delimiter="|",
    )  # fmt: skip
    assert result.texts == [text.replace("|", "-")]
    assert read_bytes(tmp_path, f"{text}\n".encode(codec), "a.txt", encoding=codec).texts == [text]


def test_undecodable_parts_of_utf_16_reject_their_row_only(tmp_path: Path) -> None:
    content = (
        "id,text\n1,good\n2,b".encode("utf-16")
        + b"\x00\xd8"  # Half of a surrogate pair.
        + "d\n3,fine\n4,cut".encode("utf-16-le")
        + b"x"  # Half of a code unit, at the end.
    )
    result = read_bytes(tmp_path, content)
    assert result.texts == ["good", "fine"]
    assert result.reasons == [(3, "invalid utf-16"), (5, "invalid utf-16")]


def test_bytes_that_an_encoding_does_not_have_reject_their_row_only(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, b"text\nok\nno \x81\n\x80 yes\n", encoding="cp1252")
    assert result.texts == ["ok", "€ yes"]
    assert result.reasons == [(3, "invalid cp1252")]
    result = read_bytes(tmp_path, b"text\nok\nno \xff\xff\nyes\n", encoding="shift_jis")
    assert result.texts == ["ok", "yes"]
    assert result.reasons == [(3, "invalid shift-jis")]


@pytest.mark.parametrize(
    "name", ["latin-99", "", "rot13", "base64", "unicode_escape", "idna", "a\0b", "../x", "é"]
)
def test_an_unknown_encoding_is_refused_in_one_line(name: str) -> None:
    with pytest.raises(UsageError, match="unknown encoding") as caught:
        find_encoding(name)
    assert "\n" not in str(caught.value)


def test_line_ends_of_other_scripts_are_text(tmp_path: Path) -> None:
    text = "a\u2028b\x0bc\x0cd\x85e\u2029f\x1cg"
    assert read_bytes(tmp_path, f"id,text\n1,{text}\n").texts == [text]
    assert read_bytes(tmp_path, f'id,text\n1,"{text}"\n').texts == [text]
    assert read_bytes(tmp_path, f"{text}\n", "a.txt").texts == [text]
