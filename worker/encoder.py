"""Texts into ids, by the Rust tokenizer, in flat arrays."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

#: Characters of a long text that are encoded at first, for each token that is wanted. Words of
#: English have about 6 characters and 1.3 tokens; eight times as much is nearly always enough.
_CHARACTERS_A_TOKEN = 32


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

    @classmethod
    def from_lists(cls, rows: Sequence[Sequence[int]], truncated: Sequence[bool]) -> "EncodedRows":
        """Put rows of ids together."""
        offsets = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in rows], out=offsets[1:])
        flat = np.fromiter((token for row in rows for token in row), np.int32, int(offsets[-1]))
        return cls(flat, offsets, np.asarray(truncated, dtype=np.bool_))


class TokenizerEncoder:
    """The model's own tokenizer, with its special tokens, cut to `max_length` tokens."""

    def __init__(self, folder: Path, max_length: int) -> None:
        # Its own threads would fight with the engine's for the cores; callers are threads already.
        os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_length=max_length)
        self._max_length = max_length
        padding = (
            self._tokenizer.token_to_id(token) for token in ("[PAD]", "<pad>", "<|endoftext|>")
        )
        #: Rows are masked where they are filled, so that any id would do.
        self.padding_id: int = next((number for number in padding if number is not None), 0)

    def encode(self, texts: list[str]) -> EncodedRows:
        """Return the ids of `texts`.

        Of a long text only a head is encoded, one that is sure to hold `max_length` tokens: a
        text of a megabyte must not take a second.
        """
        budget = self._max_length * _CHARACTERS_A_TOKEN
        heads = [text if len(text) <= budget else _head(text, budget) for text in texts]
        encodings = self._tokenizer.encode_batch_fast(heads)
        rows = [encoding.ids for encoding in encodings]
        truncated = [bool(encoding.overflowing) for encoding in encodings]
        for index, text in enumerate(texts):
            size = budget
            while not truncated[index] and len(heads[index]) < len(text):
                size *= 4
                heads[index] = _head(text, size)
                encoding = self._tokenizer.encode(heads[index])
                rows[index] = encoding.ids
                truncated[index] = bool(encoding.overflowing)
        return EncodedRows.from_lists(rows, truncated)


def _head(text: str, size: int) -> str:
    """Return the beginning of `text`, about `size` characters, cut where a word ends if it can."""
    if len(text) <= size:
        return text
    cut = max(text.rfind(" ", size // 2, size), text.rfind("\n", size // 2, size))
    return text[: cut if cut > 0 else size]
