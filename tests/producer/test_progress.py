"""How far a source is read: told by its rows, not by the blocks in which its bytes are read."""

import gzip
from itertools import islice
from pathlib import Path

import pytest

from db.store import Store
from producer.reader import Reader
from producer.relabeling import StoredTexts
from tests.producer.made_jobs import made_job
from tests.producer.reading import reader_of

#: A thousand rows of the same length, small enough to be read as one block.
ROWS = range(1000, 2000)
FILES = {
    "plain.csv": b"text\n" + b"".join(b"%d\n" % n for n in ROWS),
    "quoted.csv": b"text\n" + b"".join(b'"%d"\n' % n for n in ROWS),
    "rows.jsonl": b"".join(b'{"text": "%d"}\n' % n for n in ROWS),
    "rows.txt": b"".join(b"%d\n" % n for n in ROWS),
    "rows.csv.gz": gzip.compress(b"text\n" + b"".join(b"%d\n" % n for n in ROWS)),
    "wide.csv": ("text\n" + "".join(f"{n}\n" for n in ROWS)).encode("utf-16"),
}


def share(reader: Reader) -> float:
    read, total = reader.progress
    assert total is not None
    return read / total


@pytest.mark.parametrize("name", FILES)
def test_a_quarter_of_the_rows_is_a_quarter_of_the_way(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(FILES[name])
    reader = reader_of(path)
    assert reader.progress == (0, len(FILES[name]))
    rows = iter(reader)
    assert len(list(islice(rows, 250))) == 250
    assert share(reader) == pytest.approx(0.25, abs=0.01)
    assert len(list(rows)) == 750
    assert share(reader) == 1


def test_of_several_files_those_that_are_read_count_whole(tmp_path: Path) -> None:
    for name in ("a.csv", "b.csv"):
        (tmp_path / name).write_text("text\nhello\n")
    reader = reader_of(tmp_path / "a.csv", tmp_path / "b.csv")
    assert reader.progress == (0, 22)
    rows = iter(reader)
    next(rows)
    assert reader.progress == (11, 22)
    next(rows)
    assert reader.progress == (22, 22)


@pytest.mark.parametrize(("limit", "expected"), [(500, 0.5), (5000, 0.25)])
def test_a_limit_is_the_end_where_it_comes_first(
    tmp_path: Path, limit: int, expected: float
) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(FILES["plain.csv"])
    reader = reader_of(path, limit=limit)
    assert len(list(islice(reader, 250))) == 250
    assert share(reader) == pytest.approx(expected, abs=0.01)


def test_stored_texts_know_their_way_too_and_after_going_on(sqlite_store: Store) -> None:
    job = made_job(sqlite_store, [f"text {n}" for n in range(8)])
    texts = StoredTexts(sqlite_store, job.id, after=0)
    rows = iter(texts)
    assert texts.progress == (0, 8)
    for _ in range(2):
        next(rows)
    assert texts.progress == (2, 8)
    later = StoredTexts(sqlite_store, job.id, after=6)
    assert later.progress == (6, 8)
    assert len(list(later)) == 2
    assert later.progress == (8, 8)
