"""A Redis stream as a source: what it refuses in one line, and what its fields become."""

from typing import Any

import pytest
import redis

from db.defaults import CHUNK_ROWS
from db.errors import LabelstreamError, ServiceUnavailable, UsageError
from db.ledger.entries import EntryRow, RefusedRow
from producer.columns import Columns
from producer.encodings import find_encoding
from producer.live_source import live_source
from producer.redis_group import Delivered
from producer.redis_rows import EntryMaker
from producer.redis_stream import RedisStream
from producer.request import IngestRequest
from producer.rows import ReadOptions
from tests.services import free_port

MEBIBYTE = 1 << 20


def request(source: str, **values: Any) -> IngestRequest:
    read = ReadOptions(**values.pop("read", {}))
    return IngestRequest((source,), "emotion@production", read, CHUNK_ROWS, **values)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"again": True}, "--again is not for redis://h:1/0?stream=s&group=g: each entry is"),
        ({"job_key": "k"}, "--job-key is not for redis://h:1/0?stream=s&group=g: each producer"),
        ({"read": {"format": "csv"}}, "--format is not for"),
        ({"read": {"delimiter": ";"}}, "--delimiter is not for"),
        ({"read": {"encoding": "klingon"}}, "unknown encoding"),
        ({"dry_run": True}, "--dry-run reads a source to its end, which a Redis stream has not"),
        ({"follow": True}, "--follow is for one local file; a Redis stream is read on and on"),
    ],
)
def test_options_that_say_nothing_of_a_stream_are_refused(
    values: dict[str, Any], says: str
) -> None:
    with pytest.raises(UsageError) as refused:
        live_source(request("redis://me:pw@h:1/0?stream=s&group=g", **values), print)
    assert says in str(refused.value)
    assert "pw" not in str(refused.value)


def opened(source: str) -> list[str]:
    """Open a stream; return what is said."""
    said: list[str] = []
    stream = RedisStream(request(source), print)
    try:
        assert stream.open(said.append, None)
    finally:
        stream.close()
    return said


def test_a_group_that_is_not_there_is_made_and_said(redis_url: str) -> None:
    source = f"{redis_url}?stream=s&group=g"
    assert opened(source) == ["group 'g' is made; it begins with the first entry"]
    assert opened(source) == []


def test_a_key_that_is_no_stream_is_refused(redis_url: str) -> None:
    with redis.Redis.from_url(redis_url) as client:
        client.set("s", "a string")
    with pytest.raises(UsageError, match=r"the key 's' is there, but no stream"):
        opened(f"{redis_url}?stream=s&group=g")


def test_a_server_that_cannot_be_used_is_one_line_without_its_password(
    redis_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("producer.redis_stream.START_TIMEOUT_SECONDS", 1.0)
    refusing = redis_url.replace("redis://", "redis://nobody:secret-word@")
    away = f"redis://:secret-word@127.0.0.1:{free_port()}/0"
    for server, says in ((refusing, "refuses the user or the password"), (away, "check the addr")):
        with pytest.raises(ServiceUnavailable) as refused:
            opened(f"{server}?stream=s&group=g")
        assert says in str(refused.value)
        assert "secret-word" not in str(refused.value)
        assert len(str(refused.value).splitlines()) == 1


def made(fields: dict[bytes, bytes], encoding: str = "utf-8", **columns: Any) -> Any:
    maker = EntryMaker(
        "redis://h:6379/0?stream=s",
        Columns(**{"text": "text", **columns}),
        find_encoding(encoding),
    )
    entry = maker.entry(Delivered("7-0", fields))
    assert entry.id == "7-0"
    assert len(entry.rows) == 1
    return entry.rows[0]


def test_the_entrys_own_id_is_the_rows_unless_a_field_is_named() -> None:
    fields = {b"text": b"hello", b"user": b"me", b"n": b"17"}
    assert made(fields) == EntryRow("hello", "7-0", None)
    assert made(fields, id="n", keep=("user", "none")) == EntryRow(
        "hello", "17", {"user": "me", "none": None}
    )
    assert made(fields, text="user", id="none") == EntryRow("me", None, None)
    assert made({"größe".encode(): b"x"}, text="größe") == EntryRow("x", "7-0", None)
    assert made({b"text": b"caf\xe9"}, encoding="latin-1") == EntryRow("café", "7-0", None)
    utf16 = {b"text": "hej å".encode("utf-16-le")}
    assert made(utf16, encoding="utf-16") == EntryRow("hej å", "7-0", None)


@pytest.mark.parametrize(
    ("fields", "columns", "reason", "raw"),
    [
        ({b"a": b"b"}, {}, "no text field", '{"a": "b"}'),
        ({b"text": b""}, {}, "empty text", '{"text": ""}'),
        ({b"text": b" \n"}, {}, "empty text", '{"text": " \\n"}'),
        ({b"text": b"a\0"}, {}, "NUL character", '{"text": "a\\u0000"}'),
        ({b"text": b"\xff"}, {}, "invalid utf-8", '{"text": "\\\\xff"}'),
        ({b"text": b"a", b"i": b"\xff"}, {"id": "i"}, "invalid utf-8", '{"text": "a", "i": "\\\\xff"}'),
        ({b"text": b"a", b"k": b"\0"}, {"keep": ("k",)}, "NUL character", '{"text": "a", "k": "\\u0000"}'),
        ({b"text": b"a", b"i": b"x" * 1001}, {"id": "i"}, "id over 1,000 characters", None),
        ({b"text": b"x" * (16 * MEBIBYTE)}, {}, "row over 16 MB", None),
    ],
)  # fmt: skip
def test_an_entry_that_cannot_be_labelled_is_refused_with_the_parsers_words(
    fields: dict[bytes, bytes], columns: dict[str, Any], reason: str, raw: str | None
) -> None:
    row = made(fields, **columns)
    assert isinstance(row, RefusedRow)
    assert (row.source_file, row.reason) == ("redis://h:6379/0?stream=s", reason)
    assert row.raw is not None
    assert len(row.raw) <= 4096
    if raw is not None:
        assert row.raw == raw


def test_a_long_text_below_the_limit_is_a_row() -> None:
    assert isinstance(made({b"text": b"x" * (15 * MEBIBYTE)}), EntryRow)


def test_a_source_of_several_streams_or_with_files_is_refused() -> None:
    from producer.sources import resolve_sources

    stream = "redis://:secret@h/0?stream=s&group=g"
    with pytest.raises(LabelstreamError, match="is read alone") as refused:
        resolve_sources([stream, "rows.csv"])
    assert "secret" not in str(refused.value)
    with pytest.raises(UsageError, match=r"unix:///path/to/socket\?stream=NAME&group=NAME"):
        resolve_sources(["redis+socket:///run/redis.sock"])
