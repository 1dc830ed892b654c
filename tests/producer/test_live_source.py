"""Which sources have no end, and what does not go with them: one line each, before anything is made."""

import os
from pathlib import Path
from typing import Any

import pytest

from db.errors import UsageError
from producer.live_source import live_source
from producer.request import IngestRequest
from producer.rows import ReadOptions


def request(*sources: str, **values: Any) -> IngestRequest:
    reading = {name: values.pop(name) for name in ("format", "encoding") if name in values}
    return IngestRequest(sources, "emotion", ReadOptions(**reading), **values)


def open_stream(asked: IngestRequest) -> bool:
    source = live_source(asked, print)
    assert source is not None
    return source.open(print, 0.0)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "a.log").write_text("hello\n")
    (tmp_path / "wide.log").write_text("hello\n", encoding="utf-16")
    (tmp_path / "picture.log").write_bytes(b"\x89PNG\r\n\x1a\n")
    os.mkfifo(tmp_path / "pipe")
    return tmp_path


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (request("-", format="parquet"), "cannot be read as Parquet"),
        (request("-", dry_run=True), "--dry-run reads a source to its end"),
        (request("-", follow=True), "--follow is for one local file"),
        (request("a.log", follow=True, dry_run=True), "--dry-run reads a source to its end"),
        (request("folder", follow=True), "is a folder; --follow reads one file in it"),
        (request("folder/*.log", follow=True), "no pattern"),
        (request("a.log", "b.log", follow=True), "--follow reads one file"),
        (request("a.log", "-", follow=True), "--follow reads one file"),
        (request("https://host/a.log", follow=True), "--follow reads a local file"),
        (request("a.log.gz", follow=True), "is compressed"),
        (request("a.parquet", follow=True), "is Parquet"),
        (request("a.what", follow=True), "nothing is known of the extension .what"),
        (request("pipe", follow=True), "cat PATH | producer ingest -"),
        (request("nowhere/a.log", follow=True), "is not there, nor the folder"),
        (request("a\0.log", follow=True), "cannot be read: not a usable path"),
        (request("a.log", follow=True, encoding="utf-16"), "--follow reads utf-8"),
        (request("a.log", follow=True, encoding="shift_jis"), "--follow reads utf-8"),
        (request("wide.log", follow=True), "--follow reads utf-8"),
        (request("picture.log", follow=True), "is binary"),
    ],
)
def test_what_does_not_go_is_told_in_one_line(asked: IngestRequest, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        open_stream(asked)
    assert says in str(refused.value)
    assert "\n" not in str(refused.value)


def test_files_and_urls_are_no_streams(folder: Path) -> None:
    for source in ("a.log", str(folder / "a.log"), "https://host/a.csv", "./-", "-x"):
        assert live_source(request(source), print) is None


@pytest.mark.usefixtures("folder")
def test_a_file_that_is_not_there_yet_may_be_followed() -> None:
    assert open_stream(request("later.log", follow=True))
