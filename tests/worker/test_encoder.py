"""The encoder: the ids of the model's own tokenizer, also where it reads only a text's head."""

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as given_settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, processors, trainers

from db.errors import RegistryError, one_line
from worker.bases import STARTER_BASE, resolve_base
from worker.encoder import TokenizerEncoder

WORDS = ["i feel so happy today", "don't be afraid, it's only rain", "naïve 漢字 😀 and 12 things"]
LONG = 60_000


def save_byte_level(folder: Path) -> Path:
    """Save a tokenizer of RoBERTa's kind: bytes, and a word with the space before it."""
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    tokenizer.train_from_iterator(
        WORDS * 20,
        trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet),
    )
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return save(folder, tokenizer, pad_token_id=1)


def save_metaspace(folder: Path) -> Path:
    """Save a tokenizer of SentencePiece's kind."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.train_from_iterator(
        WORDS * 20,
        trainers.UnigramTrainer(
            vocab_size=80, special_tokens=["<pad>", "<s>", "</s>", "<unk>"], unk_token="<unk>"
        ),
    )
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 1), ("</s>", 2)]
    )
    return save(folder, tokenizer, pad_token_id=0)


def save(folder: Path, tokenizer: Tokenizer, **config: Any) -> Path:
    tokenizer.save(str(folder / "tokenizer.json"))
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture(scope="session", params=["word pieces", "byte level", "sentence piece"])
def tokenizer_folder(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """Folder of a tokenizer: the starter's, and two of the other common kinds."""
    if request.param == "word pieces":
        return resolve_base(STARTER_BASE).path
    folder = tmp_path_factory.mktemp("tokenizer")
    return save_byte_level(folder) if request.param == "byte level" else save_metaspace(folder)


encoder_of = lru_cache(TokenizerEncoder)


@lru_cache
def tokenizer_of(folder: Path) -> Tokenizer:
    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    tokenizer.no_padding()
    return tokenizer


def encoded_whole(folder: Path, text: str, max_length: int) -> tuple[list[int], bool]:
    """Encode all of `text`, and only then cut it."""
    tokenizer = tokenizer_of(folder)
    tokenizer.no_truncation()
    untruncated = len(tokenizer.encode(text).ids)
    tokenizer.enable_truncation(max_length=max_length)
    return tokenizer.encode(text).ids, untruncated > max_length


def assert_same(folder: Path, text: str, max_length: int) -> None:
    rows = encoder_of(folder, max_length).encode([text])
    ids, truncated = encoded_whole(folder, text, max_length)
    assert rows.row(0).tolist() == ids
    assert rows.truncated.tolist() == [truncated]


@pytest.mark.parametrize(
    "text",
    [
        "hello world " * (LONG // 12),
        "x" * LONG,
        " " * LONG + "a",
        "漢字" * (LONG // 2),
        "a,b;" * (LONG // 4),
        "a\t" * (LONG // 2),
        "😀" * (LONG // 4),
        # A head of 4,096 characters ends inside of a word, and few words stand before it.
        "hi " * 60 + "x" * (4096 - 276) + "-" + "qz" * 75 + " z" * 5,
        "[SEP] </s> [CLS]" * 1000,
    ],
    ids=[
        "words",
        "one word",
        "blanks",
        "chinese",
        "marks",
        "tabs",
        "emoji",
        "cut in a word",
        "special",
    ],
)
def test_of_a_long_text_the_ids_are_those_of_the_whole_text(
    tokenizer_folder: Path, text: str
) -> None:
    assert_same(tokenizer_folder, text, 128)


PIECES = st.sampled_from(
    [
        *(" ", "  ", "\n", "\t", "\u00a0", "\u200b", ",", "-" * 30, "'s", "don't", "happy", "ne"),
        *("ab" * 40, "x" * 120, "é", "e\u0301", "漢", "😀", "1234567", "</s>", "[SEP]"),
    ]
)


@given_settings(
    deadline=None, max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(pieces=st.lists(PIECES, max_size=150), max_length=st.integers(3, 12))
def test_of_any_text_the_ids_are_those_of_the_whole_text(
    tokenizer_folder: Path, pieces: list[str], max_length: int
) -> None:
    assert_same(tokenizer_folder, "".join(pieces), max_length)


def test_a_text_of_a_megabyte_is_truncated_and_marked() -> None:
    encoder = TokenizerEncoder(resolve_base(STARTER_BASE).path, 128)
    text = "what a wonderful day " * 50_000
    assert len(text) > 1_000_000
    rows = encoder.encode([text])
    assert rows.truncated.tolist() == [True]
    assert rows.row(0).tolist() == encoder.encode([text[:10_000]]).row(0).tolist()


def test_a_text_is_truncated_when_it_has_more_tokens_than_the_model_reads() -> None:
    encoder = TokenizerEncoder(resolve_base(STARTER_BASE).path, 6)
    # Two of the six are the special tokens at the beginning and the end.
    rows = encoder.encode(["day day day", "day day day day", "day day day day day", ""])
    assert rows.lengths.tolist() == [5, 6, 6, 2]
    assert rows.truncated.tolist() == [False, False, True, False]
    assert rows.ids.dtype == "int32"
    assert rows.row(2)[[0, -1]].tolist() == rows.row(0)[[0, -1]].tolist()


def test_no_texts_are_no_rows() -> None:
    rows = TokenizerEncoder(resolve_base(STARTER_BASE).path, 6).encode([])
    assert (len(rows), rows.offsets.tolist(), len(rows.ids)) == (0, [0], 0)


def test_the_padding_id_is_the_models_own(tmp_path: Path) -> None:
    assert TokenizerEncoder(save_byte_level(tmp_path), 8).padding_id == 1
    assert TokenizerEncoder(resolve_base(STARTER_BASE).path, 8).padding_id == 0


def test_a_damaged_tokenizer_is_refused_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{")
    with pytest.raises(RegistryError, match=r"tokenizer\.json cannot be read") as refused:
        TokenizerEncoder(tmp_path, 8)
    assert one_line(refused.value) == str(refused.value)
