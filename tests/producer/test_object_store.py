"""Sources in an object store: `s3://` URLs and globs, what is not there, who may not read it."""

import gzip
import io
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import db.remote_files
from db.errors import UsageError
from producer.reader import Reader
from producer.rows import ReadOptions
from producer.sources import resolve_sources
from tests.cluster import clean_environment
from tests.object_store import SECRET_KEY, ObjectStore, environment_read_anew, filesystem
from tests.producer.reading import read
from tests.services import free_port

CSV = b"id,text\n" + b"".join(b"%d,row number %d\n" % (n, n) for n in range(20_000))


def put(url: str, content: bytes) -> None:
    filesystem(url).pipe_file(url, content)


def test_a_file_is_read_and_goes_on_from_the_middle(bucket: str) -> None:
    put(f"{bucket}/rows.csv", CSV)
    [source] = resolve_sources([f"{bucket}/rows.csv"])
    assert (source.name, source.size, source.seekable) == (f"{bucket}/rows.csv", len(CSV), True)
    reader = Reader([source], ReadOptions())
    items, places = [], []
    for item in reader:
        items.append(item)
        places.append(reader.position)
    assert len(items) == 20_000
    assert list(Reader([source], ReadOptions(), places[15_000])) == items[15_001:]


def test_compressed_files_and_parquet_are_read_too(bucket: str) -> None:
    put(f"{bucket}/rows.csv.gz", gzip.compress(CSV))
    assert len(read(f"{bucket}/rows.csv.gz").rows) == 20_000
    table = io.BytesIO()
    pq.write_table(pa.table({"text": ["one", "two"]}), table)
    put(f"{bucket}/rows.parquet", table.getvalue())
    assert read(f"{bucket}/rows.parquet").texts == ["one", "two"]


def test_a_glob_is_sorted_and_sees_what_came_after_the_last_look(bucket: str) -> None:
    for name in ("in/b.csv", "in/a.csv", "in/c.txt", "out/d.csv"):
        put(f"{bucket}/{name}", f"text\n{name}\n".encode())
    assert read(f"{bucket}/in/*.csv").texts == ["in/a.csv", "in/b.csv"]
    put(f"{bucket}/in/0.csv", b"text\nnew\n")
    assert read(f"{bucket}/in/*.csv").texts == ["new", "in/a.csv", "in/b.csv"]


def test_the_fingerprint_changes_with_the_content_alone(bucket: str) -> None:
    prints = []
    for content in (b"text\none\n", b"text\none\n", b"text\ntwo\n"):
        put(f"{bucket}/rows.csv", content)
        prints.append(resolve_sources([f"{bucket}/rows.csv"])[0].fingerprint)
    assert prints[0] == prints[1] != prints[2]


def test_what_is_not_there_or_not_for_us_is_one_line(
    bucket: str, object_store: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(f"{bucket}/rows.csv", CSV)

    def refused(url: str) -> str:
        with pytest.raises(UsageError) as raised:
            resolve_sources([url])
        assert "\n" not in str(raised.value)
        assert SECRET_KEY not in str(raised.value)
        return str(raised.value)

    assert refused(f"{bucket}/row.csv") == f"{bucket}/row.csv does not exist; check the URL"
    assert refused(f"{bucket}/*.tsv") == f"{bucket}/*.tsv matches no file; check the pattern"
    gone = "s3://no-such-bucket/rows.csv"
    assert refused(gone) == f"{gone} does not exist; check the URL"
    object_store.ask_for_credentials(True)
    try:
        assert refused(f"{bucket}/rows.csv") == (
            f"no permission to read {bucket}/rows.csv; check your credentials"
        )
    finally:
        object_store.ask_for_credentials(False)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setattr(db.remote_files, "S3_ROUNDS", 1)
    with environment_read_anew():
        assert refused(f"{bucket}/rows.csv") == (
            f"{bucket}/rows.csv cannot be reached: no connection could be made"
        )


def test_without_its_driver_the_line_says_what_to_install(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['s3fs'] = None\n"
        "from producer.cli import main\n"
        "sys.argv = ['producer', 'ingest', 's3://key:secret@bucket/rows.csv']; main()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(LABELSTREAM_HOME_DIR=str(tmp_path)),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "error: s3://key:***@bucket/rows.csv: s3:// needs a driver; "
        "install it: pip install 'labelstream[s3]'\n"
    )
