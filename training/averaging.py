"""The running average of a model's weights, which is what is kept of a fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor
    from torch.nn import Parameter


class WeightAverage:
    """The exponential moving average of named parameters, updated once a step.

    average = decay * average + (1 - decay) * weights, with decay at most (1 + n) / (10 + n) at
    step n, so that the first steps are forgotten soon (Tarvainen & Valpola, 2017, and the
    warm-up of TensorFlow's ExponentialMovingAverage). A decay of 0 is the weights themselves.
    """

    def __init__(self, parameters: Mapping[str, Parameter], decay: float) -> None:
        self.parameters = parameters
        self._decay = decay
        self.average = {name: each.detach().clone() for name, each in parameters.items()}

    def update(self, step: int) -> None:
        """Take in the weights after `step` steps (from 1)."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(
            list(self.average.values()),
            [each.detach() for each in self.parameters.values()],
            1 - decay,
        )

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Put the average in place of the weights; they come back at the end."""
        kept = {name: each.detach().clone() for name, each in self.parameters.items()}
        self.put(self.average)
        try:
            yield
        finally:
            self.put(kept)

    def put(self, weights: Mapping[str, Tensor]) -> None:
        """Copy `weights` into the parameters of the same names."""
        with torch.no_grad():
            for name, parameter in self.parameters.items():
                parameter.copy_(weights[name])
