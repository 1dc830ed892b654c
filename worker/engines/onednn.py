"""Linear layers of a model on a CPU by oneDNN, which torch has beside its own way, and is not its default.

torch gives fp32 products to MKL, which on processors of others than its maker leaves the widest vectors unused.
oneDNN uses them, and its weights are laid out for that once.
"""

import logging
import time
from typing import Any

import torch

from worker.engines.trial import made_rows

log = logging.getLogger(__name__)

#: Tokens of a trial of a single layer, and how often it is timed; the fastest counts.
_TOKENS = 512
_TIMES = 5

#: Less than this of its time must oneDNN take: else it is not worth what it changes.
_WORTH = 0.95

#: Rows and tokens that a whole model is tried with, and how far its logits may differ, as a share of the
#: largest: sums are in another order.
_ROWS = 8
_LONGEST = 16
_TOLERANCE = 1e-4


class OnednnLinear(torch.nn.Module):
    """What `linear`, in fp32 on a CPU, computes, by oneDNN."""

    def __init__(self, linear: torch.nn.Linear) -> None:
        super().__init__()
        self._bias = linear.bias
        self._weight = torch.ops.mkldnn._reorder_linear_weight(linear.weight.detach(), None)

    def forward(self, given: torch.Tensor) -> torch.Tensor:
        """Return float32 [..., outputs] for float32 [..., inputs]."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(
            given, self._weight, self._bias, "none", [], ""
        )
        return found


def by_onednn(model: Any) -> Any:
    """Let the linear layers of `model`, in fp32 on a CPU, be computed by oneDNN; returns it.

    It stays as it was where oneDNN is not there or not faster on this processor, where the logits of some
    rows would differ by more than the order of sums, and where anything goes wrong.
    """
    linears = [
        (parent, name, child)
        for parent in model.modules()
        for name, child in parent.named_children()
        # No class that is made of it: what else that does is not known here.
        if type(child) is torch.nn.Linear
    ]
    if not linears:
        return model
    try:
        with torch.inference_mode():
            largest = max((child for *_, child in linears), key=lambda each: each.weight.numel())
            if not _is_faster(largest):
                return model
            wanted = _tried(model)
            for parent, name, child in linears:
                setattr(parent, name, OnednnLinear(child))
            if float((_tried(model) - wanted).abs().max()) <= _TOLERANCE * float(
                wanted.abs().max()
            ):
                return model
            log.warning("linear layers by oneDNN give other logits: not taken")
    except Exception as error:  # noqa: BLE001  (it is no part of what torch promises)
        log.info("linear layers are not computed by oneDNN (%r)", error)
    for parent, name, child in linears:
        setattr(parent, name, child)
    return model


def _is_faster(linear: torch.nn.Linear) -> bool:
    given = torch.ones(_TOKENS, linear.in_features)
    other = OnednnLinear(linear)
    return _seconds(other, given) < _WORTH * _seconds(linear, given)


def _seconds(layer: torch.nn.Module, given: torch.Tensor) -> float:
    layer(given)
    times = []
    for _ in range(_TIMES):
        started = time.perf_counter()
        layer(given)
        times.append(time.perf_counter() - started)
    return min(times)


def _tried(model: Any) -> torch.Tensor:
    ids, mask = (torch.from_numpy(each[:_ROWS]) for each in made_rows(model, _LONGEST))
    found: torch.Tensor = model(input_ids=ids, attention_mask=mask).logits
    return found
