"""Whatever the bytes of a file: a count or one clear line; of files made of known rows, those rows."""

import csv
import gzip
import io
import json
import random
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from db.errors import UsageError
from producer import lines
from producer.live_head import Prelude
from producer.live_rows import LivePosition, Rewound, placed_rows
from producer.reader import Reader
from producer.rows import ReadOptions, RejectedRow, Row, SourceError
from producer.sources import resolve_sources

QUICK = settings(
    max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
FORMATS = ("csv", "tsv", "jsonl", "txt", "parquet")
PACKINGS = ("", "gz", "zst")

#: Texts that a row may have: every character but NUL and line ends, which formats treat apart.
TEXTS = st.text(
    st.characters(codec="utf-8", exclude_characters="\0\r\n\x85\u2028\u2029"), max_size=30
)
ROWS = st.lists(st.tuples(st.integers(0, 10**6).map(str), TEXTS), min_size=1, max_size=40)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


def written(rows: Sequence[tuple[str, str]], kind: str) -> bytes:
    """Return a file of these ids and texts, as another program writes it."""
    if kind == "parquet":
        table = pa.table({"id": [row[0] for row in rows], "text": [row[1] for row in rows]})
        buffer = io.BytesIO()
        pq.write_table(table, buffer, row_group_size=7)
        return buffer.getvalue()
    if kind == "txt":
        return "".join(f"{text}\n" for _, text in rows).encode()
    if kind == "jsonl":
        return "".join(
            json.dumps({"id": identifier, "text": text}, ensure_ascii=False) + "\n"
            for identifier, text in rows
        ).encode()
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter="\t" if kind == "tsv" else ",", lineterminator="\n")
    writer.writerows([("id", "text"), *rows])
    return out.getvalue().encode()


def packed(content: bytes, packing: str) -> bytes:
    if packing == "gz":
        return gzip.compress(content, 1)
    if packing == "zst":
        return zstandard.ZstdCompressor().compress(content)
    return content


def file_of(folder: Path, content: bytes, kind: str, packing: str) -> Path:
    path = folder / (f"rows.{kind}.{packing}" if packing else f"rows.{kind}")
    path.write_bytes(content)
    return path


def expected(rows: Sequence[tuple[str, str]], kind: str) -> list[tuple[str | None, str]]:
    """Id and text of each row, a reject's reason for a blank text."""
    return [
        (None, "empty text") if not text.strip() else (None if kind == "txt" else identifier, text)
        for identifier, text in rows
    ]


def shown(items: Sequence[Row | RejectedRow]) -> list[tuple[str | None, str]]:
    return [
        (item.external_id, item.text) if isinstance(item, Row) else (None, item.reason)
        for item in items
    ]


@QUICK
@given(rows=ROWS, kind=st.sampled_from(FORMATS), packing=st.sampled_from(PACKINGS))
def test_known_rows_are_read_as_they_were_written(
    folder: Path, rows: list[tuple[str, str]], kind: str, packing: str
) -> None:
    packing = "" if kind == "parquet" else packing
    path = file_of(folder, packed(written(rows, kind), packing), kind, packing)
    options = ReadOptions(delimiter="," if kind == "csv" else "auto")
    reader = Reader(resolve_sources([str(path)]), options)
    assert shown(list(reader)) == expected(rows, kind)
    assert reader.position.row == len(rows)


@settings(QUICK, max_examples=800)
@given(
    rows=ROWS,
    kind=st.sampled_from(FORMATS),
    packing=st.sampled_from(PACKINGS),
    inside=st.booleans(),
    seed=st.integers(0, 2**32),
)
def test_a_damaged_file_ends_with_a_count_or_one_line(
    folder: Path, rows: list[tuple[str, str]], kind: str, packing: str, inside: bool, seed: int
) -> None:
    packing = "" if kind == "parquet" else packing
    content = written(rows, kind)
    if inside:
        content = packed(damaged(content, seed), packing)
    else:
        content = damaged(packed(content, packing), seed)
    path = file_of(folder, content, kind, packing)
    numbers, error = read(path, ReadOptions(text_column="text"))
    assert numbers == list(range(1, len(numbers) + 1))
    if error is not None:
        assert str(error)
        assert "\n" not in str(error)
        # What is wrong with the whole file is said before its first row.
        assert isinstance(error, SourceError) or not numbers


def read(path: Path, options: ReadOptions) -> tuple[list[int], SourceError | UsageError | None]:
    """Return the row numbers, and the one error that a person may see."""
    numbers: list[int] = []
    try:
        numbers.extend(item.row_number for item in Reader(resolve_sources([str(path)]), options))
    except (SourceError, UsageError) as error:
        return numbers, error
    return numbers, None


def damaged(content: bytes, seed: int) -> bytes:
    """Return `content` with bytes that were flipped, cut out, put in or cut off, as a bad disk does."""
    chance = random.Random(seed)
    data = bytearray(content)
    for _ in range(chance.randint(1, 8)):
        at = chance.randrange(len(data) + 1)
        match chance.randrange(4):
            case 0 if at < len(data):
                data[at] = chance.randrange(256)
            case 1:
                del data[at : at + chance.randint(1, 40)]
            case 2:
                data[at:at] = chance.randbytes(chance.randint(1, 40))
            case 3 if chance.random() < 0.3:
                del data[at:]
    return bytes(data)


class Pieces:
    """A stream that arrives in pieces."""

    def __init__(self, pieces: Sequence[bytes]) -> None:
        self._pieces = [piece for piece in pieces if piece]
        self.consumed = 0

    def read(self, size: int) -> bytes:
        if not self._pieces:
            return b""
        data, rest = self._pieces[0][:size], self._pieces[0][size:]
        self._pieces[:1] = [rest] if rest else []
        self.consumed += len(data)
        return data

    def close(self) -> None:
        raise NotImplementedError


@settings(QUICK, max_examples=500)
@given(
    rows=ROWS,
    kind=st.sampled_from(["csv", "tsv", "jsonl", "txt"]),
    cuts=st.lists(st.integers(0, 2000), max_size=12),
    damage=st.none() | st.integers(0, 2**32),
)
def test_a_pipe_gives_the_rows_of_the_file_however_its_bytes_arrive(
    folder: Path, rows: list[tuple[str, str]], kind: str, cuts: list[int], damage: int | None
) -> None:
    content = written(rows, kind)
    if damage is not None:
        content = damaged(content, damage)
    ends = sorted({min(cut, len(content)) for cut in cuts} | {len(content)})
    pieces = [content[before:end] for before, end in zip([0, *ends], ends, strict=False)]
    options = ReadOptions(
        format="text" if kind == "txt" else kind,
        delimiter="," if kind == "csv" else "auto",
        text_column=None if kind == "txt" else "text",
        id_column=None if kind == "txt" else "id",
    )
    path = file_of(folder, content, kind, "")
    of_file = told(lambda: Reader(resolve_sources([str(path)]), options))
    of_pipe = told(lambda: piped(Pieces(pieces), str(path), options))
    if damage is None:
        assert of_pipe is not None
        assert shown(of_pipe) == expected(rows, kind)
    # The head of a pipe is its first rows alone: of a damaged file, it may have one when the file
    # has none.
    if of_file is not None and of_pipe is not None:
        assert of_pipe == of_file


def told(
    reading: Callable[[], Iterable[Row | RejectedRow]],
) -> list[Row | RejectedRow] | None:
    """Return all rows; None where a person is told why there are none."""
    try:
        return list(reading())
    except UsageError:
        return None


def piped(stream: Pieces, name: str, options: ReadOptions) -> Iterator[Row | RejectedRow]:
    prelude = Prelude(name, options, options.format)
    while (opened := prelude.head()) is None:
        prelude.add(stream.read(lines.BLOCK_BYTES))
        if prelude.blank:
            return
    rewound = Rewound(bytes(prelude.data), stream)
    for row, _ in placed_rows(rewound, opened, LivePosition(0, 0, 0, 0), name):
        yield row
