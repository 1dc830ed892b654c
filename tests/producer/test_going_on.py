"""Properties: going on from any row, the same rows whatever the blocks, and no input that breaks."""

import csv
import gzip
import io
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import LabelstreamError, UsageError
from producer import lines
from producer.reader import Reader
from producer.rows import Position, ReadOptions, RejectedRow, Row, SourceError
from producer.source_file import SourceFile
from producer.sources import resolve_sources

Items = list[Row | RejectedRow]

QUICK = settings(
    max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
#: Pieces that meet in every order: quotes, line ends, bytes that are wrong, whole good rows.
PIECES = st.lists(
    st.sampled_from(
        [b'"', b'""', b",", b"\n", b"\r", b"\r\n", b"a", b" ", b"\x00", b"\xff", "é".encode(),
         b'1,"x"\n', b"2,y\n", b'3,"a\nb"\n', b'4,"open\n', b"5\n", b'"",""\n', b'6,"q ""z"""\r\n']
    ),
    max_size=60,
)  # fmt: skip
BLOCKS = st.sampled_from([1, 2, 3, 7, 64, 1 << 20])


@contextmanager
def blocks_of(size: int) -> Iterator[None]:
    before = lines.BLOCK_BYTES
    lines.BLOCK_BYTES = size
    try:
        yield
    finally:
        lines.BLOCK_BYTES = before


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def packed(content: bytes, kind: str) -> bytes:
    if kind == "gz":
        return gzip.compress(content, 1)
    if kind == "zst":
        return zstandard.ZstdCompressor().compress(content)
    if kind == "utf-16":
        return content.decode("utf-8", "replace").encode("utf-16")
    return content


def sources_of(folder: Path, *contents: bytes, extension: str, kind: str = "") -> list[SourceFile]:
    suffix = f".{kind}" if kind in ("gz", "zst") else ""
    paths = [folder / f"{n}.{extension}{suffix}" for n in range(len(contents))]
    for path, content in zip(paths, contents, strict=True):
        path.write_bytes(packed(content, kind))
    return resolve_sources([str(path) for path in paths])


def read_with_places(
    sources: list[SourceFile], options: ReadOptions
) -> tuple[Items, list[Position]]:
    reader = Reader(sources, options)
    items, places = [], []
    for item in reader:
        items.append(item)
        places.append(reader.position)
    assert [item.row_number for item in items] == list(range(1, len(items) + 1))
    return items, places


@QUICK
@given(
    first=PIECES, second=PIECES, kind=st.sampled_from(["", "", "gz", "zst", "utf-16"]),
    before=BLOCKS, after=BLOCKS, data=st.data(),
)  # fmt: skip
def test_going_on_from_any_row_gives_the_rows_after_it(
    folder: Path, first: list[bytes], second: list[bytes], kind: str, before: int, after: int,
    data: st.DataObject,
) -> None:  # fmt: skip
    contents = [b"id,text\n" + b"".join(pieces) for pieces in (first, second)]
    sources = sources_of(folder, *contents, extension="csv", kind=kind)
    options = ReadOptions(delimiter=",")
    with blocks_of(before):
        items, places = read_with_places(sources, options)
    if not items:
        return
    cut = data.draw(st.integers(0, len(items) - 1))
    with blocks_of(after):
        rest = Reader(sources, options, places[cut])
        assert [(item, rest.position) for item in rest] == list(
            zip(items[cut + 1 :], places[cut + 1 :], strict=True)
        )


@QUICK
@given(pieces=PIECES, extension=st.sampled_from(["jsonl", "txt", "tsv"]), block=BLOCKS)
def test_other_formats_go_on_too(
    folder: Path, pieces: list[bytes], extension: str, block: int
) -> None:
    head = {"jsonl": b'{"text": "x", "n": 1}\n', "txt": b"x\n", "tsv": b"text\n"}[extension]
    sources = sources_of(folder, head + b"".join(pieces), extension=extension)
    try:
        items, places = read_with_places(sources, ReadOptions())
    except UsageError:
        return  # Too many NULs to be text.
    with blocks_of(block):
        assert read_with_places(sources, ReadOptions()) == (items, places)
        for at in range(0, len(items), 5):
            assert list(Reader(sources, ReadOptions(), places[at])) == items[at + 1 :]


@QUICK
@given(
    rows=st.lists(
        st.tuples(
            st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20),
            st.text(st.sampled_from('ab ",;\r\n\t|é🙂'), max_size=12),
        ),
        max_size=30,
    ),
    quoting=st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]),
    end=st.sampled_from(["\n", "\r\n"]),
    block=BLOCKS,
)
def test_what_a_csv_writer_writes_is_read_back(
    folder: Path, rows: list[tuple[str, str]], quoting: int, end: str, block: int
) -> None:
    # Of a lone line end, the writer quotes only the one that it ends lines with.
    end = end if quoting == csv.QUOTE_ALL else "\r\n"
    written = io.StringIO(newline="")
    writer = csv.writer(written, quoting=quoting, lineterminator=end)  # type: ignore[arg-type]
    writer.writerow(["id", "text"])
    writer.writerows(rows)
    sources = sources_of(folder, written.getvalue().encode(), extension="csv")
    with blocks_of(block):
        items, _ = read_with_places(sources, ReadOptions(delimiter=","))
    expected = [
        (identifier or None, text) if text.strip() else "empty text" for identifier, text in rows
    ]
    assert expected == [
        (item.external_id, item.text) if isinstance(item, Row) else item.reason for item in items
    ]


@settings(QUICK, max_examples=200)
@given(
    content=st.one_of(st.binary(max_size=400), PIECES.map(b"".join)),
    head=st.sampled_from([b"", b"id,text\n", b'{"text": "x"}\n', b"text\n", b"\xff\xfe", b"PAR1"]),
    name=st.sampled_from(
        ["a.csv", "a.tsv", "a.jsonl", "a.txt", "a.parquet", "a.csv.gz", "a.txt.zst", "a"]
    ),
    encoding=st.sampled_from(["utf-8", "utf-16", "latin-1", "cp1252", "shift_jis", "utf-7"]),
    pack=st.booleans(),
    block=BLOCKS,
)
def test_no_bytes_raise_anything_but_errors_for_people(
    folder: Path, content: bytes, head: bytes, name: str, encoding: str, pack: bool, block: int
) -> None:
    path = folder / name
    content = head + content
    path.write_bytes(packed(content, name.rpartition(".")[2]) if pack else content)
    numbers = []
    try:
        with blocks_of(block):
            reader = Reader(
                resolve_sources([str(path)]), ReadOptions(encoding=encoding, text_column="text")
            )
            for item in reader:
                numbers.append(item.row_number)
                assert_storable(item)
    except SourceError as error:
        assert_one_line(error)
    except LabelstreamError as error:
        assert_one_line(error)
        assert not numbers
    assert numbers == list(range(1, len(numbers) + 1))
    assert len(numbers) <= len(content) * 4 + 4


def assert_storable(item: Row | RejectedRow) -> None:
    text = item.text if isinstance(item, Row) else item.raw
    assert "\0" not in text
    text.encode()
    if isinstance(item, RejectedRow):
        assert len(text.encode()) <= 4096
        assert "\n" not in item.reason
    else:
        assert text.strip()


def assert_one_line(error: LabelstreamError) -> None:
    assert str(error)
    assert "\n" not in str(error)


@pytest.mark.parametrize("rows", [5_000, 50_000])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, rows: int) -> None:
    import tracemalloc

    path = tmp_path / "rows.csv"
    path.write_text("id,text\n" + "".join(f'{n},"row ""{n}"", {"x" * 40}"\n' for n in range(rows)))
    tracemalloc.start()
    try:
        assert sum(1 for _ in Reader(resolve_sources([str(path)]), ReadOptions())) == rows
        assert tracemalloc.get_traced_memory()[1] < 12 << 20
    finally:
        tracemalloc.stop()
