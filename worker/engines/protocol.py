"""What an engine is: ids in, logits out, and the encoder that belongs to it."""

from typing import Protocol

import numpy as np
import numpy.typing as npt

from worker.encoder import EncodedRows

Ids = npt.NDArray[np.int64]
Logits = npt.NDArray[np.float32]


class Encoder(Protocol):
    """Turns texts into ids, as one engine wants them."""

    def encode(self, texts: list[str]) -> EncodedRows:
        """Return the ids of `texts`; safe to call from many threads at once."""


class Engine(Protocol):
    """Computes the logits of one version; called from at most `at_once` threads at a time."""

    @property
    def name(self) -> str:
        """What `LABELSTREAM_ENGINE` calls it."""

    @property
    def device(self) -> str:
        """Where it computes: `cpu`, `cuda:0`."""

    @property
    def at_once(self) -> int:
        """How many micro-batches it computes side by side."""

    @property
    def micro_batch_tokens(self) -> int:
        """Padded tokens (rows times longest row) of a micro-batch at the most."""

    @property
    def encoder(self) -> Encoder:
        """What turns texts into its ids."""

    @property
    def padding_id(self) -> int:
        """The id that fills short rows of a micro-batch."""

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels] for int64 [rows, longest] ids and their mask of 0 and 1."""


class EngineOutOfMemory(Exception):
    """The micro-batch did not fit; a smaller one may."""
