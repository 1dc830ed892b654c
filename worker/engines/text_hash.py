"""An engine whose label is a function of the text, so that a swapped or mixed row shows."""

import time
import zlib

import numpy as np

from db.defaults import MICRO_BATCH_TOKENS
from worker.encoder import EncodedRows
from worker.engines.protocol import Ids, Logits


class BytesEncoder:
    """The ids of a text are the bytes of its UTF-8, all of them."""

    def encode(self, texts: list[str]) -> EncodedRows:
        """Return the bytes of `texts`."""
        encoded = [text.encode() for text in texts]
        offsets = np.zeros(len(texts) + 1, dtype=np.int64)
        np.cumsum([len(row) for row in encoded], out=offsets[1:])
        flat = np.frombuffer(b"".join(encoded), dtype=np.uint8).astype(np.int32)
        return EncodedRows(flat, offsets, np.zeros(len(texts), dtype=np.bool_))


class TextHashEngine:
    """Label = CRC-32 of the text's UTF-8, modulo the number of labels; at a pace, if one is given."""

    name = "text-hash"
    device = "cpu"
    at_once = 1
    micro_batch_tokens = MICRO_BATCH_TOKENS
    padding_id = 0

    def __init__(self, labels: int, seconds_a_row: float = 0.0) -> None:
        self.encoder = BytesEncoder()
        self._labels = labels
        self._seconds_a_row = seconds_a_row

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels]: 1 for the label, 0 for the others."""
        time.sleep(self._seconds_a_row * len(input_ids))
        found = np.zeros((len(input_ids), self._labels), dtype=np.float32)
        for row, (ids, mask) in enumerate(zip(input_ids, attention_mask, strict=True)):
            text = ids[: int(mask.sum())].astype(np.uint8).tobytes()
            found[row, zlib.crc32(text) % self._labels] = 1.0
        return found
