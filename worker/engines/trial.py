"""Rows by chance, by which a way to call a model is tried before any real row is computed by it."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from worker.engines.protocol import Ids

_ROWS = 24


@dataclass(frozen=True, slots=True)
class Trial:
    """Rows by chance, and what a model in fp32 makes of each by itself: what each way must give."""

    #: int64 [rows, longest].
    ids: Ids
    mask: Ids
    #: float32 [rows, labels], on the CPU.
    wanted: torch.Tensor

    @classmethod
    def of(cls, model: Any, longest: int) -> "Trial":
        """Try `model`, which is in fp32 on the CPU, with rows of up to `longest` tokens; raises what it raises."""
        ids, mask = made_rows(model, longest)
        # One by one: padded to the longest, they would take many times as long.
        wanted = [
            model(
                input_ids=torch.from_numpy(row[None, :length]),
                attention_mask=torch.ones(1, length, dtype=torch.int64),
            ).logits
            for row, length in zip(ids, mask.sum(axis=1).tolist(), strict=True)
        ]
        return cls(ids, mask, torch.cat(wanted))


def made_rows(model: Any, longest: int) -> tuple[Ids, Ids]:
    """Return rows of ids by chance and their mask, int64 [24, longest].

    The first row has `longest` tokens; the others are as long as usual. Some have the id of padding among
    their tokens: a text may name it.
    """
    chance = np.random.default_rng(1)
    lengths = np.append(longest, chance.integers(1, min(longest, 32) + 1, _ROWS - 1))
    mask = (np.arange(longest) < lengths[:, np.newaxis]).astype(np.int64)
    ids = chance.integers(0, model.config.vocab_size, mask.shape)
    ids[_ROWS // 2 :, 1::7] = padding_of(model)
    ids[mask == 0] = padding_of(model)
    return ids, mask


def padding_of(model: Any) -> int:
    """Return the id of padding that a model itself knows of; 0 where it knows of none."""
    return int(getattr(model.config, "pad_token_id", None) or 0)
