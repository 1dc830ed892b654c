"""`.gz` and `.zst`: read as they are, and as far as they are whole."""

import gzip
import random
import tracemalloc
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from db.errors import UsageError
from tests.producer.reading import read, read_bytes

random.seed(7)
TEXTS = [f"row {n} {random.getrandbits(200):x}" for n in range(20_000)]
CSV = ("text\n" + "".join(f"{text}\n" for text in TEXTS)).encode()


def zst(data: bytes) -> bytes:
    return zstandard.ZstdCompressor(write_checksum=True).compress(data)


PACK: dict[str, Callable[[bytes], bytes]] = {"gz": gzip.compress, "zst": zst}


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("name", ["rows.csv", "rows.jsonl", "rows.txt", "rows"])
def test_a_whole_file_is_read_by_the_extension_inside(tmp_path: Path, kind: str, name: str) -> None:
    content = {"rows.csv": CSV, "rows.jsonl": b'{"text": "a"}\n'}.get(name, b"a\nb\n")
    expected = {"rows.csv": TEXTS, "rows.jsonl": ["a"]}.get(name, ["a", "b"])
    result = read_bytes(tmp_path, PACK[kind](content), f"{name}.{kind}")
    assert (result.texts, result.error) == (expected, None)


@pytest.mark.parametrize("kind", PACK)
def test_members_and_frames_follow_each_other(tmp_path: Path, kind: str) -> None:
    parts = [b"text\none\n", b"", b"two\nth", b"ree\n"]
    result = read_bytes(tmp_path, b"".join(map(PACK[kind], parts)), f"a.csv.{kind}")
    assert result.texts == ["one", "two", "three"]
    assert result.error is None


def test_zeros_after_a_gzip_member_are_padding(tmp_path: Path) -> None:
    packed = gzip.compress(b"text\none\n") + bytes(100) + gzip.compress(b"two\n") + bytes(70_000)
    result = read_bytes(tmp_path, packed, "a.csv.gz")
    assert (result.texts, result.error) == (["one", "two"], None)


@pytest.mark.parametrize("kind", PACK)
@pytest.mark.parametrize("cut", [1, 9, 2000, 300_000])
def test_of_a_truncated_file_all_whole_rows_are_read_then_it_is_told(
    tmp_path: Path, kind: str, cut: int
) -> None:
    result = read_bytes(tmp_path, PACK[kind](CSV)[:-cut], f"cut.csv.{kind}")
    assert result.error is not None
    assert result.error.exit_status == 1
    assert "truncated" in str(result.error)
    assert str(tmp_path / f"cut.csv.{kind}") in str(result.error)
    assert result.texts == TEXTS[: len(result.texts)]
    # A hundred thousand bytes are at most 4,000 of these rows.
    assert len(result.texts) > 20_000 - 4_000 * (cut // 100_000 + 2)
    if cut < 10 and kind == "gz":
        assert len(result.texts) == 20_000
    assert result.rejects == []


@pytest.mark.parametrize("kind", PACK)
def test_of_a_damaged_file_what_comes_before_is_read(tmp_path: Path, kind: str) -> None:
    packed = bytearray(PACK[kind](CSV))
    packed[-300_000:-299_000] = bytes(1000)
    result = read_bytes(tmp_path, bytes(packed), f"bad.csv.{kind}")
    assert result.error is not None
    assert len(result.texts) > 500


def test_garbage_after_a_member_is_told(tmp_path: Path) -> None:
    result = read_bytes(tmp_path, gzip.compress(b"text\none\n") + b"garbage", "a.csv.gz")
    assert result.texts == ["one"]
    assert "damaged" in str(result.error)


@pytest.mark.parametrize("kind", PACK)
def test_what_is_not_what_its_name_says_is_refused(tmp_path: Path, kind: str) -> None:
    with pytest.raises(UsageError, match="though its name says so"):
        read_bytes(tmp_path, b"text\none\n", f"a.csv.{kind}")
    with pytest.raises(UsageError, match="is empty"):
        read_bytes(tmp_path, PACK[kind](b""), f"a.csv.{kind}")
    with pytest.raises(UsageError, match="truncated"):
        read_bytes(tmp_path, PACK[kind](CSV)[:15], f"a.csv.{kind}")
    with pytest.raises(UsageError, match="Parquet"):
        read_bytes(tmp_path, PACK[kind](b"PAR1"), f"a.parquet.{kind}")


@pytest.mark.parametrize("kind", PACK)
def test_a_file_that_unpacks_to_a_thousand_times_its_size_takes_little_memory(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / f"big.txt.{kind}"
    path.write_bytes(PACK[kind](b"x" * (120 << 20) + b"\nshort\n"))
    assert path.stat().st_size < 200_000
    tracemalloc.start()
    try:
        result = read(path)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert result.texts == ["short"]
    assert result.reasons == [(1, "row over 16 MB")]
    assert peak < 90 << 20
