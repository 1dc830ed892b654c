"""Rows end to end, without padding: how a GPU takes rows of many lengths at once.

An encoder looks from one token at others in its attention alone; all else is done for each token by
itself. So the tokens of all rows can stand in one long row, if the attention knows where each begins,
each token is told its place in its own row, and the classifier is given the first token of each.
"""

import logging
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from worker.engines.protocol import Ids
from worker.engines.trial import Trial, padding_of

log = logging.getLogger(__name__)

#: Under which name transformers knows our attention.
ATTENTION = "labelstream_packed"

#: What the layers of a base model are called together: by BERT and its kin, by DistilBERT.
_LAYERS = ("encoder", "transformer")

#: How far logits in fp32 may differ, as a share of the largest, where only the order of sums is another.
_TOLERANCE = 1e-3


@dataclass(frozen=True, slots=True)
class PackedRows:
    """Rows laid end to end."""

    #: int64 [tokens].
    ids: npt.NDArray[np.int64]
    #: int64 [tokens]: the place of each token in its row, from 0.
    positions: npt.NDArray[np.int64]
    #: int32 [rows + 1]: where each row begins, and where the last one ends.
    bounds: npt.NDArray[np.int32]

    @classmethod
    def of(cls, input_ids: Ids, attention_mask: Ids, uncounted: int | None = None) -> "PackedRows":
        """Lay padded rows, int64 [rows, longest], end to end; a row of no token keeps one of padding.

        Tokens with the id `uncounted` have no place of their own: theirs is -1, and the next token's is
        as if they were not there.
        """
        lengths = np.maximum(attention_mask.sum(axis=1), 1)
        bounds = np.concatenate(([0], np.cumsum(lengths)))
        ids = input_ids[np.arange(input_ids.shape[1]) < lengths[:, np.newaxis]]
        positions = np.arange(bounds[-1]) - np.repeat(bounds[:-1], lengths)
        if uncounted is not None and (left_out := ids == uncounted).any():
            before = np.cumsum(left_out)
            positions -= before - np.repeat((before - left_out)[bounds[:-1]], lengths)
            positions[left_out] = -1
        return cls(ids, positions, bounds.astype(np.int32))

    def __len__(self) -> int:
        return len(self.bounds) - 1


def packed_attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    cu_seq_lens_q: torch.Tensor,
    max_length_q: int,
    scaling: float | None = None,
    **_: object,
) -> tuple[torch.Tensor, None]:
    """Let each token of [1, heads, tokens, size] look at those of its own row.

    Its arguments and its result, [1, tokens, heads, size], are what transformers asks of an attention.
    In 16 bits on a GPU nothing is computed for tokens of other rows. Elsewhere all of it is, and then
    masked: that serves to try a model in fp32.
    """
    if query.is_cuda and query.dtype in (torch.bfloat16, torch.float16):
        from torch.nn.attention.varlen import varlen_attn

        query, key, value = (each[0].transpose(0, 1) for each in (query, key, value))
        of_rows = varlen_attn(
            query,
            key,
            value,
            cu_seq_lens_q,
            cu_seq_lens_q,
            max_length_q,
            max_length_q,
            scale=scaling,
        )
        assert isinstance(of_rows, torch.Tensor)  # noqa: S101  (nothing else was asked for)
        return of_rows[None], None
    places = torch.arange(query.shape[2], device=query.device, dtype=cu_seq_lens_q.dtype)
    rows = torch.searchsorted(cu_seq_lens_q, places, right=True)
    found = torch.nn.functional.scaled_dot_product_attention(
        query, key, value, attn_mask=rows[:, None] == rows, scale=scaling
    )
    return found.transpose(1, 2), None


class PackedModel:
    """A classifier that takes rows end to end.

    `model` counts places from `first_position`, without tokens of the id `uncounted`; no row has more than
    `longest` tokens. Raises `LookupError` for a model whose layers have no known name.
    """

    def __init__(
        self, model: Any, first_position: int, uncounted: int | None, longest: int
    ) -> None:
        self._model = model
        self._first_position = first_position
        #: What `PackedRows.of` is to leave out of its count.
        self.uncounted = uncounted
        self._longest = longest
        self._firsts = _Firsts()
        self._layers = _layers(model)
        self._own_attention = model.config._attn_implementation
        self.attach()

    def attach(self) -> None:
        """Let the model take rows end to end, and those alone."""
        self._hook = self._layers.register_forward_hook(self._firsts)
        self._model.set_attn_implementation(ATTENTION)

    def detach(self) -> None:
        """Let the model take padded rows again, with the attention that it had."""
        self._hook.remove()
        self._model.set_attn_implementation(self._own_attention)

    def __call__(
        self, ids: torch.Tensor, positions: torch.Tensor, bounds: torch.Tensor
    ) -> torch.Tensor:
        """Return the logits, [rows, labels], of `PackedRows` as tensors on the model's device.

        A row of no tokens gets logits that mean nothing; tokens past the last bound change none.
        """
        self._firsts.at = bounds[:-1].clamp(max=len(ids) - 1)
        found: torch.Tensor = self._model(
            input_ids=ids[None],
            position_ids=(positions + self._first_position)[None],
            cu_seq_lens_q=bounds,
            cu_seq_lens_k=bounds,
            max_length_q=self._longest,
            max_length_k=self._longest,
        ).logits
        return found


class _Firsts:
    """A hook on a model's layers: of what they give only each row's first token goes on.

    An object of its own: were it the `PackedModel`'s method, the two would hold each other, and a
    model that nobody needs any more would stay in memory until a garbage collection.
    """

    at: torch.Tensor

    def __call__(self, _module: torch.nn.Module, _given: object, found: Any) -> Any:
        found.last_hidden_state = found.last_hidden_state[0].index_select(0, self.at)[:, None]
        return found


def packed_model(model: Any, longest: int, trial: Trial) -> PackedModel | None:
    """Return `model` so that it takes rows end to end; None where its logits would not be the same.

    `model` is in fp32 on the CPU (there a place past the last one is an error, and not the end of the
    process), and is left as it was where None is returned. It is tried rather than looked up: an
    architecture may count places its own way (RoBERTa begins behind the padding's id, and leaves padding
    out, also where a text names it), or have another attention altogether.
    """
    from transformers import AttentionInterface

    AttentionInterface.register(ATTENTION, packed_attention)
    padding = padding_of(model)
    for first_position, uncounted in ((0, None), (padding + 1, padding)):
        packed = None
        try:
            packed = PackedModel(model, first_position, uncounted, longest)
            rows = PackedRows.of(trial.ids, trial.mask, uncounted)
            if _same(packed(*as_tensors(rows)), trial.wanted):
                return packed
        except Exception as error:  # noqa: BLE001  (an unknown architecture may raise anything)
            log.debug("%s does not take rows end to end: %r", type(model).__name__, error)
        if packed is not None:
            packed.detach()
    return None


def as_tensors(rows: PackedRows) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Return what a `PackedModel` is called with, on the CPU."""
    return (
        torch.from_numpy(rows.ids),
        torch.from_numpy(rows.positions),
        torch.from_numpy(rows.bounds),
    )


def _layers(model: Any) -> torch.nn.Module:
    for name in _LAYERS:
        if isinstance(found := getattr(model.base_model, name, None), torch.nn.Module):
            return found
    raise LookupError(f"the model has none of {', '.join(_LAYERS)}")


def _same(found: torch.Tensor, wanted: torch.Tensor) -> bool:
    if found.shape != wanted.shape:
        return False
    return float((found - wanted).abs().max()) <= _TOLERANCE * float(wanted.abs().max())
