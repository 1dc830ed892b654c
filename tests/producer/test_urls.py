"""URLs through fsspec, over HTTP on loopback: with and without ranges, and when they break off."""

import gzip
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from db.errors import UsageError
from producer.reader import Reader
from producer.rows import ReadOptions, SourceError
from producer.sources import resolve_sources
from tests.producer.reading import read, reader_of

CSV = b"id,text\n" + b"".join(b"%d,row number %d\n" % (n, n) for n in range(20_000))


@dataclass
class Site:
    """What a server serves, and how."""

    files: dict[str, bytes]
    ranges: bool = True
    etag: str | None = '"v1"'
    modified: str | None = "Wed, 31 Jan 2024 10:00:00 GMT"
    send_only: int | None = None
    base: str = ""
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def site() -> Iterator[Site]:
    served = Site({})

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_HEAD(self) -> None:
            self.do_GET()

        def do_GET(self) -> None:
            served.asked.append(f"{self.command} {self.headers.get('Range')}")
            content = served.files.get(self.path.split("?")[0])
            if content is None or self.path == "/forbidden.csv":
                self.send_response(404 if content is None else 403)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            wanted = self.headers.get("Range") if served.ranges else None
            total = len(content)
            if wanted is not None:
                first, last = wanted.removeprefix("bytes=").split("-")
                end = min(int(last) + 1 if last else total, total)
                self.send_response(206)
                self.send_header("Content-Range", f"bytes {first}-{end - 1}/{total}")
                content = content[int(first) : end]
            else:
                self.send_response(200)
            for name, value in (("ETag", served.etag), ("Last-Modified", served.modified)):
                if value is not None:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command == "GET":
                self.wfile.write(content[: served.send_only])
                self.close_connection = served.send_only is not None

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """Say nothing: clients that go away in the middle are part of these tests."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    served.base = f"http://127.0.0.1:{server.server_port}"
    yield served
    server.shutdown()
    server.server_close()
    thread.join(timeout=10)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_file_over_http_is_read_and_goes_on_from_the_middle(site: Site, ranges: bool) -> None:
    site.ranges = ranges
    site.files = {"/rows.csv": CSV}
    [source] = resolve_sources([f"{site.base}/rows.csv"])
    assert (source.size, source.seekable) == (len(CSV), ranges)
    reader = Reader([source], ReadOptions())
    items, places = [], []
    for item in reader:
        items.append(item)
        places.append(reader.position)
    assert len(items) == 20_000
    assert reader.progress == (len(CSV), len(CSV))
    assert list(Reader([source], ReadOptions(), places[15_000])) == items[15_001:]


@pytest.mark.parametrize("ranges", [True, False])
def test_a_compressed_file_over_http_is_read_by_the_name_in_its_path(
    site: Site, ranges: bool
) -> None:
    site.ranges = ranges
    site.files = {"/data/rows.csv.gz": gzip.compress(CSV)}
    assert len(read(f"{site.base}/data/rows.csv.gz?version=3&sig=abc").rows) == 20_000


def test_parquet_over_http_needs_ranges(site: Site, tmp_path: Path) -> None:
    path = tmp_path / "rows.parquet"
    pq.write_table(pa.table({"text": ["one", "two"]}), path)
    site.files = {"/rows.parquet": path.read_bytes()}
    assert read(f"{site.base}/rows.parquet").texts == ["one", "two"]
    site.ranges = False
    with pytest.raises(UsageError, match="download it first"):
        read(f"{site.base}/rows.parquet")


def test_the_fingerprint_is_the_etag_else_the_date_else_the_content(site: Site) -> None:
    site.files = {"/a.txt": b"hello\n"}
    prints = []
    for site.etag, site.modified in [('"v1"', "x"), ('"v2"', "x"), (None, "x"), (None, "y")]:
        prints.append(resolve_sources([f"{site.base}/a.txt"])[0].fingerprint)
    site.modified = None
    for site.files["/a.txt"] in (b"hello\n", b"jello\n"):
        prints.append(resolve_sources([f"{site.base}/a.txt"])[0].fingerprint)
    assert len(set(prints)) == 6


def test_passwords_are_used_but_never_shown(site: Site) -> None:
    site.files = {"/a.txt": b"hello\n\n"}
    url = f"{site.base}/a.txt?token=hunter2".replace("//", "//user:hunter2@")
    result = read(url)
    assert result.texts == ["hello"]
    [source] = resolve_sources([url])
    assert "hunter2" in source.url
    assert "hunter2" not in repr(source) + result.rejects[0].source_file + source.name
    with pytest.raises(UsageError) as error:
        resolve_sources([url.replace("a.txt", "b.txt")])
    assert "does not exist" in str(error.value)
    assert "hunter2" not in str(error.value)


@pytest.mark.parametrize("ranges", [True, False])
def test_a_connection_lost_in_the_middle_is_told_after_the_rows_before(
    site: Site, ranges: bool
) -> None:
    site.files = {"/rows.csv": CSV * 40}
    site.ranges = ranges
    # One answer is cut in its middle, or else a later one of many.
    site.send_only = None if ranges else 10_000_000
    reader = reader_of(f"{site.base}/rows.csv")
    items = iter(reader)
    seen = [next(items) for _ in range(1000)]
    site.send_only = 300_000
    with pytest.raises(SourceError, match="broke off after") as error:
        seen.extend(items)
    assert error.value.exit_status == 1
    assert str(error.value).startswith(f"{site.base}/rows.csv")
    assert [item.row_number for item in seen] == list(range(1, len(seen) + 1))
    assert 10_000 < len(seen) < 800_000


def test_an_unreachable_server_and_a_refusal_are_one_line(site: Site) -> None:
    site.files = {"/forbidden.csv": b""}
    for url, says in [
        (f"{site.base}/missing.csv", "does not exist"),
        (f"{site.base}/forbidden.csv", "the server answered 403"),
        ("http://user:hunter2@127.0.0.1:9/a.csv", "cannot be reached"),
    ]:
        with pytest.raises(UsageError, match=says) as error:
            resolve_sources([url])
        assert "\n" not in str(error.value)
        assert "hunter2" not in str(error.value)


def test_other_file_systems_and_their_globs() -> None:
    import fsspec

    memory = fsspec.filesystem("memory")
    for name in ("b", "a"):
        memory.pipe(f"/rows/{name}.csv", f"text\n{name}\n".encode())
    assert read("memory://rows/*.csv").texts == ["a", "b"]
    assert read("memory://rows/b.csv").texts == ["b"]
    with pytest.raises(UsageError, match="matches no file"):
        resolve_sources(["memory://rows/*.tsv"])
    with pytest.raises(UsageError, match="is a folder"):
        resolve_sources(["memory://rows"])
