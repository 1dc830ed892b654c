"""Texts into ids, by the Rust tokenizer, in flat arrays."""

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from db.errors import RegistryError

if TYPE_CHECKING:
    from tokenizers import Encoding

#: Characters of a long text that are encoded at first, for each token that is wanted. Words of
#: English have about 6 characters and 1.3 tokens; six times as much is nearly always enough.
_CHARACTERS_A_TOKEN = 32

#: By how much a head grows that turned out too short. A text without any word's end is read
#: whole at last; then all heads before it cost a seventh of that.
_GROWTH = 8

#: Whole words that must stand between the tokens that are kept and the end of a head: where a
#: head was cut, the last word is broken, and the mark before it may be read in another way.
_SPARE_WORDS = 2


@dataclass(frozen=True)
class EncodedRows:
    """The ids of some rows, one after the other."""

    #: int32 [all tokens].
    ids: npt.NDArray[np.int32]
    #: int64 [rows + 1]: row n has the ids from offsets[n] up to offsets[n + 1].
    offsets: npt.NDArray[np.int64]
    #: bool [rows]: whether the text is longer than the model reads.
    truncated: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.truncated)

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Tokens of each row, int64 [rows]."""
        return np.diff(self.offsets)

    def row(self, index: int) -> npt.NDArray[np.int32]:
        """Return the ids of one row, int32 [length]."""
        return self.ids[self.offsets[index] : self.offsets[index + 1]]

    def taken(self, indices: npt.NDArray[np.int64]) -> "EncodedRows":
        """Return the rows at `indices`, int64, in that order."""
        lengths = self.lengths[indices]
        offsets = _offsets(lengths)
        # Where each token of the result stands here: its row's start, and its place in the row.
        tokens = np.repeat(self.offsets[indices] - offsets[:-1], lengths)
        tokens += np.arange(len(tokens))
        return EncodedRows(self.ids[tokens], offsets, self.truncated[indices])

    def part(self, start: int, stop: int) -> "EncodedRows":
        """Return the rows from `start` up to `stop`."""
        offsets = self.offsets[start : stop + 1]
        ids = self.ids[offsets[0] : offsets[-1]]
        return EncodedRows(ids, offsets - offsets[0], self.truncated[start:stop])

    @classmethod
    def joined(cls, parts: Sequence["EncodedRows"]) -> "EncodedRows":
        """Put the rows of `parts`, of which there is at least one, one after the other."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            np.concatenate([part.ids for part in parts]),
            _offsets(np.concatenate([part.lengths for part in parts])),
            np.concatenate([part.truncated for part in parts]),
        )

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]], truncated: Sequence[bool]) -> "EncodedRows":
        """Put rows of ids together."""
        offsets = _offsets(np.fromiter(map(len, rows), np.int64, len(rows)))
        flat = np.fromiter(chain.from_iterable(rows), np.int32, int(offsets[-1]))
        return cls(flat, offsets, np.asarray(truncated, dtype=np.bool_))


def _offsets(lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    offsets = np.zeros(len(lengths) + 1, dtype=np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


class TokenizerEncoder:
    """The model's own tokenizer, with its special tokens, cut to `max_length` tokens.

    `folder` holds tokenizer.json, and beside it the model's config.json. Raises `RegistryError`
    if the tokenizer cannot be read.
    """

    def __init__(self, folder: Path, max_length: int) -> None:
        # Its own threads would fight with the engine's for the cores; callers are threads already.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        path = folder / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception:  # noqa: BLE001  (the library raises nothing narrower)
            raise RegistryError(f"the tokenizer {path} cannot be read") from None
        #: The id that fills short rows. It is masked, but some models (RoBERTa) count positions
        #: by it, so that it must be theirs.
        self.padding_id: int = _padding_id(folder, self._tokenizer.padding)
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_length)
        self._head_characters = max_length * _CHARACTERS_A_TOKEN

    def encode(self, texts: list[str]) -> EncodedRows:
        """Return the ids of `texts`, the same as if every text were encoded whole.

        Of a long text only a head is encoded, one that is sure to hold all tokens that are kept:
        a text of a megabyte must not take a second. The interpreter lock is free meanwhile.
        """
        size = self._head_characters
        short = [text if len(text) <= size else "" for text in texts]
        encodings = self._tokenizer.encode_batch_fast(short)
        for index, text in enumerate(texts):
            if len(text) > size:
                encodings[index] = self._encode_long(text)
        return EncodedRows.from_lists(
            [encoding.ids for encoding in encodings],
            [bool(encoding.overflowing) for encoding in encodings],
        )

    def _encode_long(self, text: str) -> "Encoding":
        size = self._head_characters
        while size < len(text):
            encoding = self._tokenizer.encode(text[:size])
            if _holds_whole_words(encoding):
                return encoding
            size *= _GROWTH
        return self._tokenizer.encode(text)


def _holds_whole_words(encoding: "Encoding") -> bool:
    """Whether the kept tokens end some words before the head does, out of reach of its cut."""
    overflowing = encoding.overflowing
    if not overflowing:
        return False
    return _last_word(encoding) + _SPARE_WORDS <= _last_word(overflowing[-1])


def _last_word(encoding: "Encoding") -> int:
    # Special tokens belong to no word.
    return max((word for word in encoding.word_ids if word is not None), default=0)


def _padding_id(folder: Path, padding: dict[str, object] | None) -> int:
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        config = {}
    for found in (config.get("pad_token_id"), (padding or {}).get("pad_id")):
        if isinstance(found, int):
            return found
    return 0
