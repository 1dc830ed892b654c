"""The encoder beside the tokenizer that everybody uses, and how much of a text it reads."""

from typing import Any

import pytest
from transformers import AutoTokenizer

from worker.bases import STARTER_BASE, resolve_base
from worker.encoder import TokenizerEncoder

MAX_LENGTH = 128

TEXTS = [
    "i feel fine",
    "",
    "   ",
    "naïve café — ¿qué? 🙂👩‍👩‍👧 'quoted' \"twice\"",
    "[CLS] [SEP] [MASK] <s>",
    "日本語のテキスト",
    "שלום עולם",
    "e\u0301 combining \u200b zero \u200d width",
    "a\tb\nc\r\nd\x0b",
    "word " * 126,
    "word " * 127,
    "word " * 300,
]

LONG = {
    "English": "I went down to the market, and bought three unremarkable apples. " * 4000,
    "no spaces": "abcdefghij" * 20_000,
    "spaces, then words": " " * 100_000 + "word " * 1000,
    "zero width": "\u200b" * 100_000 + "at last " * 200,
    "zero width between": "a\u200bb\u200c " * 40_000,
    "joined emoji": "🙂👩‍👩‍👧" * 30_000,
    "combining": "e\u0301" * 80_000,
    "a long word late": "word " * 819 + "x" * 100_000,
    "NUL": "a\x00b " * 40_000,
}


@pytest.fixture(scope="module")
def encoder() -> TokenizerEncoder:
    return TokenizerEncoder(resolve_base(STARTER_BASE).path, MAX_LENGTH)


@pytest.fixture(scope="module")
def plain() -> Any:
    return AutoTokenizer.from_pretrained(resolve_base(STARTER_BASE).path, local_files_only=True)


@pytest.fixture
def characters_read(encoder: TokenizerEncoder, monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many characters the tokenizer was given, text by text."""
    real = encoder._tokenizer
    given: list[int] = []

    class Counting:
        def encode(self, text: str) -> Any:
            given.append(len(text))
            return real.encode(text)

        def encode_batch_fast(self, texts: list[str]) -> Any:
            given.extend(len(text) for text in texts)
            return real.encode_batch_fast(texts)

    monkeypatch.setattr(encoder, "_tokenizer", Counting())
    return given


def test_the_ids_are_those_of_the_plain_tokenizer(encoder: TokenizerEncoder, plain: Any) -> None:
    encoded = encoder.encode(TEXTS)
    expected = plain(TEXTS, truncation=True, max_length=MAX_LENGTH)["input_ids"]
    assert [encoded.row(index).tolist() for index in range(len(TEXTS))] == expected
    assert encoded.row(1).tolist() == [plain.cls_token_id, plain.sep_token_id]


@pytest.mark.parametrize("name", LONG)
def test_the_head_of_a_long_text_gives_the_plain_tokenizers_ids(
    encoder: TokenizerEncoder, plain: Any, name: str
) -> None:
    encoded = encoder.encode([LONG[name], "after"])
    whole = plain(LONG[name], truncation=False, verbose=False)["input_ids"]
    expected = whole if len(whole) <= MAX_LENGTH else [*whole[: MAX_LENGTH - 1], whole[-1]]
    assert encoded.row(0).tolist() == expected
    assert encoded.truncated.tolist() == [len(whole) > MAX_LENGTH, False]


@pytest.mark.parametrize(
    ("words", "length", "truncated"),
    [(125, 127, False), (126, 128, False), (127, 128, True), (1000, 128, True)],
)
def test_a_text_is_marked_as_truncated_from_the_first_token_that_is_cut(
    encoder: TokenizerEncoder, words: int, length: int, truncated: bool
) -> None:
    encoded = encoder.encode([" ".join(["word"] * words)])
    assert encoded.lengths.tolist() == [length]
    assert encoded.truncated.tolist() == [truncated]


def test_of_a_megabyte_of_words_only_a_head_is_read(
    encoder: TokenizerEncoder, characters_read: list[int]
) -> None:
    encoded = encoder.encode(["some words " * 95_000, "short"])
    assert encoded.truncated.tolist() == [True, False]
    assert sum(characters_read) < 10_000


@pytest.mark.parametrize("text", ["x" * 500_000, "\u200b" * 500_000, " " * 500_000])
def test_no_text_is_read_much_more_than_twice(
    encoder: TokenizerEncoder, characters_read: list[int], text: str
) -> None:
    encoder.encode([text])
    assert sum(characters_read) < 2.2 * len(text)
