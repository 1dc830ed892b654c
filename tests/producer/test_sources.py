"""What SOURCE may name, and what it may not."""

import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

from db.errors import UsageError
from producer.sources import resolve_sources
from tests.producer.reading import read


def test_a_file_has_a_canonical_name_a_size_and_a_hash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "real.csv").write_bytes(b"text\none\n")
    (tmp_path / "link.csv").symlink_to("real.csv")
    monkeypatch.chdir(tmp_path)
    [source] = resolve_sources(["./link.csv"])
    assert source.name == source.url == str(tmp_path.resolve() / "real.csv")
    assert source.size == 9
    assert source.fingerprint == hashlib.sha256(b"text\none\n").hexdigest()
    assert source.seekable
    assert resolve_sources([f"file://{tmp_path}/real.csv"]) == [source]


def test_a_glob_is_sorted_and_takes_no_folders(tmp_path: Path) -> None:
    for name in ("b.csv", "a.csv", "c.txt"):
        (tmp_path / name).write_text("text\nx\n")
    (tmp_path / "d.csv").mkdir()
    names = [Path(source.name).name for source in resolve_sources([str(tmp_path / "*.csv")])]
    assert names == ["a.csv", "b.csv"]


def test_a_name_that_looks_like_a_glob_is_a_name_if_the_file_is_there(tmp_path: Path) -> None:
    (tmp_path / "a[1].csv").write_text("text\nx\n")
    assert read(tmp_path / "a[1].csv").texts == ["x"]


def test_what_a_shell_makes_of_a_command_is_refused_by_the_name_that_it_has() -> None:
    reads, writes = os.pipe()
    try:
        with pytest.raises(UsageError) as caught:
            resolve_sources([f"/dev/fd/{reads}"])
    finally:
        os.close(reads)
        os.close(writes)
    assert str(caught.value) == (
        f"/dev/fd/{reads} is no regular file; pipe what it gives into: producer ingest -"
    )


@pytest.mark.parametrize(
    ("specs", "says"),
    [
        (["missing.csv"], "does not exist"),
        (["*.csv"], "matches no file"),
        (["folder"], "is a folder"),
        (["a.txt", "./a.txt"], "named twice"),
        (["a.txt", "*.txt"], "named twice"),
        (["a.txt/b.csv"], "does not exist"),
        (["pipe"], "no regular file"),
        (["a\0b"], "cannot be read"),
        (["x" * 5000], "cannot be read"),
        (["a.txt", "-"], "read alone"),
        (["-", "-"], "read alone"),
        (
            ["redis://user:secret@host:1/0?stream=s&group=g"],
            "is read alone; name no other source beside it",
        ),
        (["gs://bucket/rows.csv"], "pip install gcsfs"),
        (["sftp://user:secret@host/rows.csv"], "pip install paramiko"),
        (["nosuch://user:secret@host/rows.csv"], "nothing is known"),
        ([], "no source"),
    ],
)
def test_what_is_no_source_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, specs: list[str], says: str
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.txt").write_text("hello\n")
    (tmp_path / "folder").mkdir()
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match=says) as caught:
        resolve_sources(specs)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.exit_status == 2


def test_no_permission_is_one_line(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("text\nx\n")
    path.chmod(0)
    was = os.geteuid()
    try:
        if was == 0:
            os.seteuid(65534)  # Root may read every file.
        with pytest.raises(UsageError, match="no permission to read") as error:
            resolve_sources([str(path)])
    finally:
        os.seteuid(was)
    assert "a.csv" in str(error.value)


def test_a_file_name_that_is_not_utf_8_is_read_and_its_name_can_be_stored(tmp_path: Path) -> None:
    path = os.path.join(os.fsencode(tmp_path), b"caf\xe9.csv")
    with open(path, "wb") as file:
        file.write(b"text\none\n\xff\n")
    result = read(os.fsdecode(path))
    assert result.texts == ["one"]
    assert result.rejects[0].source_file == f"{tmp_path}/caf\\xe9.csv"


def test_several_files_are_numbered_through_and_each_has_its_own_lines(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n2\n")
    (tmp_path / "b.tsv").write_text("text\tid\ntwo\t3\n\t4\n")
    (tmp_path / "c.jsonl").write_text('{"text": "three", "id": 5}\n')
    result = read(tmp_path / "a.csv", tmp_path / "b.tsv", tmp_path / "c.jsonl")
    assert [(row.row_number, row.text, row.external_id) for row in result.rows] == [
        (1, "one", "1"), (3, "two", "3"), (5, "three", "5"),
    ]  # fmt: skip
    assert [(r.row_number, Path(r.source_file).name, r.line) for r in result.rejects] == [
        (2, "a.csv", 3), (4, "b.tsv", 3),
    ]  # fmt: skip
    assert read(tmp_path / "a.csv", tmp_path / "b.tsv", limit=3).texts == ["one", "two"]


def test_every_file_is_checked_before_the_first_row(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,one\n")
    (tmp_path / "b.csv").write_text("id,txet\n1,one\n")
    with pytest.raises(UsageError, match=r"b\.csv has no column 'text'; .*id, txet; did you mean"):
        read(tmp_path / "a.csv", tmp_path / "b.csv")


def test_the_reader_imports_nothing_heavy() -> None:
    code = (
        "import sys, producer.reader; "
        "print([m for m in ('pandas', 'pyarrow', 'torch', 'celery', 'sqlalchemy', 'fsspec', "
        "'aiohttp', 'zstandard') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
