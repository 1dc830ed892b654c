"""Linear layers in fp32 by oneDNN, which torch has beside MKL, its own way, on some AMD processors."""

import logging
import threading
from typing import Any

import torch

from worker.engines.trial import made_rows
from worker.processor import amd_with_wide_avx512

log = logging.getLogger(__name__)

#: Tokens that a layer is given are filled up to a multiple of this: oneDNN compiles a layer for each number
#: of tokens, and keeps that. To a micro-batch of 1,024 it adds 3 % in the mean.
_STEP = 64

#: Fewer tokens are filled up to a power of two, and to this at least.
_LEAST = 8

#: Rows and tokens that a model is tried with, which no layer takes unfilled, and how far its logits may differ,
#: as a share of the largest: sums are in another order.
_ROWS = 7
_LONGEST = 16
_TOLERANCE = 1e-4


class OnednnLinear(torch.nn.Module):
    """What `linear`, in fp32 on a CPU, computes; its weights are laid out for oneDNN, once.

    Called under `torch.inference_mode` alone; a model that has such layers is neither copied nor moved.
    """

    def __init__(self, linear: torch.nn.Linear, filler: "Filler") -> None:
        super().__init__()
        self._outputs = linear.out_features
        self._bias = linear.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)
        self._filler = filler

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return float32 [..., outputs] for float32 [..., inputs]."""
        *outer, inputs = given.shape
        tokens = given.reshape(-1, inputs)
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            self._filler.filled(tokens), self._weight, self._bias, "none", [], ""
        )
        return found[: len(tokens)].view(*outer, self._outputs)


class _Memory(threading.local):
    def __init__(self) -> None:
        #: float32 [tokens, width], by width.
        self.widths: dict[int, torch.Tensor] = {}


class Filler:
    """Fills tokens up, in memory that the layers of a model share: new memory would take most of what is won.

    Each thread has its own, for several may call a model at once.
    """

    def __init__(self) -> None:
        self._memory = _Memory()

    def filled(self, tokens: torch.Tensor) -> torch.Tensor:
        """Return `tokens`, float32 [count, width], with any numbers as further ones, until the next call."""
        count, width = tokens.shape
        wanted = filled_up(count)
        if wanted == count:
            return tokens
        memory = self._memory.widths.get(width)
        if memory is None or len(memory) < wanted:
            memory = self._memory.widths[width] = tokens.new_zeros(wanted, width)
        memory[:count].copy_(tokens)
        return memory[:wanted]


def filled_up(tokens: int) -> int:
    """Return the number of tokens that a layer computes where it is given so many."""
    if tokens > _STEP:
        return -(-tokens // _STEP) * _STEP
    return max(_LEAST, 1 << (tokens - 1).bit_length())


def by_onednn(model: Any) -> Any:
    """Let the linear layers of `model`, in fp32 on the CPU, be computed by oneDNN; returns it.

    MKL leaves half of the width of an AMD processor's vectors unused from Zen 5 on, oneDNN does not. On any
    other the model stays as it was, and so it does where the logits of some rows by chance would differ by
    more than the order of sums, or anything goes wrong. Until that is known both layouts of the weights are in
    memory. Nothing is timed: a model is computed in one way on one machine.
    """
    linears = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        # No class that is made of it: what else that does is not known here.
        if type(child) is torch.nn.Linear
    ]
    if not linears or not amd_with_wide_avx512():
        return model
    try:
        with torch.inference_mode():
            wanted, filler = _tried(model), Filler()
            for parent, name, child in linears:
                setattr(parent, name, OnednnLinear(child, filler))
            further = float((_tried(model) - wanted).abs().max() / wanted.abs().max())
            if further <= _TOLERANCE:
                return model
        log.warning(
            "linear layers by oneDNN are not taken: logits would differ by %.1e of the largest",
            further,
        )
    except Exception as error:  # noqa: BLE001  (it is no part of what torch promises)
        log.info("linear layers are not computed by oneDNN (%r)", error)
    for parent, name, child in linears:
        setattr(parent, name, child)
    return model


def _tried(model: Any) -> torch.Tensor:
    ids, mask = (torch.from_numpy(each[:_ROWS]) for each in made_rows(model, _LONGEST))
    found: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return found
