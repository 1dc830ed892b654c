"""The engines of tests and benchmarks: what they say can be worked out from the text alone."""

import time
import zlib

import numpy as np
import pytest

from db.errors import UsageError
from tests.worker.versions import version
from worker.computing import padded
from worker.encoder import EncodedRows
from worker.engines import Engine, make_engine

TEXTS = ["i feel fine", "", "naïve 🙂", "a" * 5000, "i feel fine"]


def logits(engine: Engine, texts: list[str]) -> np.ndarray:
    encoded = engine.encoder.encode(texts)
    return engine.logits(*padded(encoded, engine.padding_id))


def test_the_label_of_text_hash_is_the_crc_of_its_utf_8() -> None:
    engine = make_engine("text-hash", None, version("abcdefg"), "auto")
    said = logits(engine, TEXTS)
    assert said.shape == (5, 7)
    assert said.dtype == np.float32
    expected = [zlib.crc32(text.encode()) % 7 for text in TEXTS]
    assert said.argmax(axis=1).tolist() == expected
    assert said.sum(axis=1).tolist() == [1.0] * 5


def test_text_hash_reads_every_byte_however_long_the_text() -> None:
    engine = make_engine("text-hash", None, version("ab"), "auto")
    encoded = engine.encoder.encode(["é" * 1_000_000, "x"])
    assert encoded.lengths.tolist() == [2_000_000, 1]
    assert encoded.truncated.tolist() == [False, False]


def test_the_constant_engine_says_the_first_label_of_everything() -> None:
    engine = make_engine("constant", None, version("abc"), "auto")
    assert engine.encoder.encode(TEXTS).lengths.tolist() == [1, 1, 1, 1, 1]
    assert logits(engine, TEXTS).tolist() == [[1.0, 0.0, 0.0]] * 5


def test_the_fixed_time_engine_takes_a_millisecond_a_row() -> None:
    engine = make_engine("fixed-time", None, version("abc"), "auto")
    started = time.monotonic()
    said = logits(engine, ["text"] * 50)
    assert time.monotonic() - started >= 0.05
    assert said.tolist() == [[1.0, 0.0, 0.0]] * 50


def test_at_a_pace_text_hash_takes_that_long_a_row_and_says_the_same() -> None:
    engine = make_engine("text-hash", None, version("abcdefg"), "auto", pace=0.01)
    started = time.monotonic()
    said = logits(engine, TEXTS)
    assert time.monotonic() - started >= 0.05
    assert said.argmax(axis=1).tolist() == [zlib.crc32(text.encode()) % 7 for text in TEXTS]


def test_a_pace_outweighs_that_of_the_fixed_time_engine() -> None:
    engine = make_engine("fixed-time", None, version("abc"), "auto", pace=0.02)
    started = time.monotonic()
    logits(engine, TEXTS)
    assert time.monotonic() - started >= 0.1


@pytest.mark.parametrize("name", ["constant", "text-hash", "fixed-time"])
def test_these_engines_say_who_they_are(name: str) -> None:
    engine = make_engine(name, None, version("abc"), "auto")
    assert (engine.name, engine.device) == (name, "cpu")


def test_an_unknown_engine_is_refused_by_name() -> None:
    with pytest.raises(UsageError, match="there is no engine 'onnx'"):
        make_engine("onnx", None, version("abc"), "auto")


def test_rows_are_laid_one_after_the_other() -> None:
    rows = EncodedRows.from_lists([[1, 2], [], [3]], [False, False, True])
    assert rows.ids.tolist() == [1, 2, 3]
    assert rows.offsets.tolist() == [0, 2, 2, 3]
    assert [rows.row(index).tolist() for index in range(3)] == [[1, 2], [], [3]]
    assert len(rows) == 3


def lists(rows: EncodedRows) -> list[list[int]]:
    return [rows.row(index).tolist() for index in range(len(rows))]


def test_rows_are_taken_apart_and_put_together_without_a_list_of_each() -> None:
    rows = EncodedRows.from_lists([[1, 2], [], [3], [4, 5, 6]], [False, False, True, False])
    taken = rows.taken(np.array([3, 1, 2, 3]))
    assert lists(taken) == [[4, 5, 6], [], [3], [4, 5, 6]]
    assert taken.truncated.tolist() == [False, False, True, False]
    part = rows.part(1, 3)
    assert (lists(part), part.truncated.tolist()) == ([[], [3]], [False, True])
    assert lists(rows.part(2, 2)) == []
    joined = EncodedRows.joined([part, rows.part(0, 0), taken])
    assert lists(joined) == [[], [3], [4, 5, 6], [], [3], [4, 5, 6]]
    assert joined.truncated.tolist() == [False, True, False, False, True, False]


def test_short_rows_are_filled_and_masked() -> None:
    ids, mask = padded(EncodedRows.from_lists([[5, 6, 7], [], [8]], [False] * 3), 9)
    assert ids.tolist() == [[5, 6, 7], [9, 9, 9], [8, 9, 9]]
    assert mask.tolist() == [[1, 1, 1], [0, 0, 0], [1, 0, 0]]
