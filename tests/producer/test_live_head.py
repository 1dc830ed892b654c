"""The head of a source that is still being written: as soon as it can be told, and always the same."""

import pytest

from db.errors import UsageError
from producer.content import SAMPLE_BYTES
from producer.live_head import LiveHead, Prelude
from producer.rows import ReadOptions


def prelude(*pieces: bytes, **options: str) -> Prelude:
    given = ReadOptions(**options)  # type: ignore[arg-type]
    collected = Prelude("pipe", given, given.format)
    for piece in pieces:
        collected.add(piece)
    return collected


def head(*pieces: bytes, **options: str) -> LiveHead:
    found = prelude(*pieces, **options).head()
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("enough", "options", "name"),
    [
        (b"a\n", {}, "text"),
        (b"a\r\n", {}, "text"),
        (b'{"text": "a"}\n', {}, "jsonl"),
        (b"[1]\n", {}, "text"),
        (b"\n\n \na\n", {}, "text"),
        (b"text\nrow\n", {"text_column": "text"}, "csv"),
        (b"text;n\n\nrow;1\n", {"delimiter": ";"}, "csv"),
        (b'{"text": "a"}\n', {"text_column": "text"}, "jsonl"),
        (b'text\n"one\n\nrow"\n', {"format": "csv"}, "csv"),
        (b'text\n5" pipes\n', {"format": "csv"}, "csv"),
        (b"text\tid\na\t1\n", {"format": "tsv"}, "tsv"),
        (b'oops\n{"text": "a"}\n', {"format": "jsonl"}, "jsonl"),
        (b"\xef\xbb\xbfa\n", {}, "text"),
        ("a\n".encode("utf-16"), {}, "text"),
        ("text\nrow\n".encode("utf-16"), {"format": "csv"}, "csv"),
    ],
)
def test_it_is_told_by_the_first_lines_and_not_a_byte_before(
    enough: bytes, options: dict[str, str], name: str
) -> None:
    for size in range(1, len(enough)):
        assert prelude(enough[:size], **options).head() is None, enough[:size]
    byte_by_byte = [enough[at : at + 1] for at in range(len(enough))]
    for pieces in ([enough], byte_by_byte):
        assert head(*pieces, **options).head.format.name == name


def test_what_arrives_with_the_first_lines_changes_nothing() -> None:
    first = b"a,b\n1,hello\n"
    rest = b"words,more words\nand,more\n" * 100
    alone = head(first, format="csv")
    assert alone.columns.text == "b", "the only column with text in the first row"
    assert head(first + rest, format="csv") == alone
    assert head(first, rest, format="csv") == alone


def test_at_its_end_what_is_there_is_enough() -> None:
    assert head(b"no line end", b"").head.format.name == "text"
    assert head(b"text", b"", format="csv").columns.text == "text"
    for content in (b"", b"\xef\xbb\xbf"):
        assert prelude(content, b"").blank


def test_a_first_line_without_end_is_not_waited_for_for_ever() -> None:
    assert prelude(b"x" * SAMPLE_BYTES, format="text").head() is None
    assert head(b"x" * (SAMPLE_BYTES + 1), format="text").head.format.name == "text"


def test_a_first_line_that_comes_byte_by_byte_is_looked_at_when_it_ends() -> None:
    collected = prelude()
    for _ in range(20_000):
        collected.add(b"x")
        assert collected.head() is None
    collected.add(b"\n")
    assert collected.head() is not None


def test_json_lines_need_an_object_among_the_first_lines() -> None:
    assert prelude(b"no json\n" * 99, format="jsonl").head() is None
    with pytest.raises(UsageError, match="none of its first lines is a JSON object"):
        prelude(b"no json\n" * 100, format="jsonl").head()


def test_a_key_that_is_named_need_not_be_in_the_first_object() -> None:
    found = head(b'{"body": "x"}\n', text_column="text", id_column="id")
    assert (found.columns.text, found.columns.id) == ("text", "id")


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (bytes(range(32)) * 10 + b"\n", "is binary"),
        (b"PK\x03\x04" + bytes(40) + b"\n", "a zip file"),
        (b"a,b\nhello,world\n", "which column holds the text cannot be told"),
    ],
)
def test_what_cannot_be_read_is_refused(content: bytes, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        prelude(content, b"", format="csv").head()
