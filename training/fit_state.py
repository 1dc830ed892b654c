"""The state of an unfinished fit: one safetensors file, from which it goes on as if unbroken."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import LabelstreamError, UsageError
from training.epochs import Epoch
from training.metrics import ClassMetrics, Metrics
from worker.bases import BaseModelFiles, resolve_base

if TYPE_CHECKING:
    from torch import Tensor
    from torch.optim import Optimizer

    from training.averaging import WeightAverage
    from training.fit_config import FitConfig

#: The layout of the file; another one is not read.
FORMAT_VERSION = 1

STATE_FILE = "state.safetensors"

#: The folder in HOME_DIR that holds a folder for each unfinished fit.
FITS_FOLDER = "fits"

#: Hexadecimal digits of a fit's identity that name its folder.
NAME_DIGITS = 16


#: Tensors of the file: the weights, their average, the best average, AdamW's two moments.
_WEIGHTS, _AVERAGE, _BEST = "weights.", "average.", "best."
_MOMENTS = ("exp_avg", "exp_avg_sq")


@dataclass
class Progress:
    """How far a fit has come: epochs that are done, and steps of the one under way."""

    #: The averaged weights of the best epoch so far.
    best: dict[str, Tensor]
    epochs: list[Epoch] = field(default_factory=list)
    #: The loss of each step of the epoch under way.
    losses: list[float] = field(default_factory=list)
    #: Seconds spent on the epoch under way.
    seconds: float = 0.0

    def close_epoch(self, epoch: Epoch) -> None:
        """Begin the epoch after `epoch`."""
        self.epochs.append(epoch)
        self.losses = []
        self.seconds = 0.0


@dataclass(frozen=True, slots=True)
class FitState:
    """Where a fit stands: numbers as JSON holds them, tensors by name."""

    numbers: Mapping[str, Any]
    tensors: Mapping[str, Tensor]


def captured(
    progress: Progress, average: WeightAverage, optimizer: Optimizer, base: BaseModelFiles
) -> FitState:
    """Return everything that the rest of the fit depends on, as it is after a step."""
    import torch

    tensors = {
        **{_WEIGHTS + name: each.detach() for name, each in average.parameters.items()},
        **{_AVERAGE + name: each for name, each in average.average.items()},
        **{_BEST + name: each for name, each in progress.best.items()},
        "random.cpu": torch.get_rng_state(),
    }
    if torch.cuda.is_available():
        tensors["random.cuda"] = torch.cuda.get_rng_state()
    updates = 0.0
    for name, parameter in average.parameters.items():
        held = optimizer.state.get(parameter, {})
        tensors.update({f"{moment}.{name}": held[moment] for moment in _MOMENTS if held})
        updates = float(held["step"]) if held else updates
    numbers = {
        "epochs": [asdict(epoch) for epoch in progress.epochs],
        "losses": progress.losses,
        "seconds": progress.seconds,
        "updates": updates,
        "base": {"revision": base.revision, "sha256": base.sha256},
    }
    return FitState(numbers, tensors)


def same_base(state: FitState | None, name: str, revision: str | None) -> BaseModelFiles:
    """Find the base `name`, at the commit at which the fit of `state` began if none is asked for.

    Raises UsageError if its files are not those on which that fit began.
    """
    began = state.numbers.get("base") if state is not None else None
    if began is None:
        return resolve_base(name, revision)
    base = resolve_base(name, revision or began["revision"])
    if base.sha256 != began["sha256"]:
        raise UsageError(
            f"base model {name} is not the one on which this fit began: put that one back, or fit "
            "without --resume"
        )
    return base


def restored(state: FitState, average: WeightAverage, optimizer: Optimizer) -> Progress:
    """Put a captured state back into weights, average, optimiser and random numbers."""
    import torch

    numbers, tensors = state.numbers, state.tensors
    average.put(_named(tensors, _WEIGHTS))
    for name, each in _named(tensors, _AVERAGE).items():
        average.average[name].copy_(each)
    for name, parameter in average.parameters.items():
        if f"{_MOMENTS[0]}.{name}" in tensors:
            optimizer.state[parameter] = {
                "step": torch.tensor(numbers["updates"]),
                **{moment: tensors[f"{moment}.{name}"].to(parameter.device) for moment in _MOMENTS},
            }
    torch.set_rng_state(tensors["random.cpu"])
    if "random.cuda" in tensors and torch.cuda.is_available():
        torch.cuda.set_rng_state(tensors["random.cuda"])
    return Progress(
        best=_named(tensors, _BEST),
        epochs=[_epoch(each) for each in numbers["epochs"]],
        losses=list(numbers["losses"]),
        seconds=numbers["seconds"],
    )


def _named(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {
        name.removeprefix(prefix): each for name, each in tensors.items() if name.startswith(prefix)
    }


def _epoch(record: Mapping[str, Any]) -> Epoch:
    validation = record["validation"]
    metrics = Metrics(
        **{
            **validation,
            "per_class": tuple(ClassMetrics(**each) for each in validation["per_class"]),
            "confusion": tuple(tuple(row) for row in validation["confusion"]),
        }
    )
    return Epoch(**{**record, "validation": metrics})


class FitStateFile:
    """The file that holds the state of one fit, of this data with this recipe."""

    def __init__(self, folder: Path, data_fingerprint: str, config: FitConfig) -> None:
        described = json.dumps([data_fingerprint, asdict(config)], sort_keys=True)
        self._identity = hashlib.sha256(described.encode()).hexdigest()
        self.folder = folder / self._identity[:NAME_DIGITS]
        self._path = self.folder / STATE_FILE

    def exists(self) -> bool:
        """Tell whether an unfinished fit is there."""
        return self._path.is_file()

    def load(self) -> FitState:
        """Return the state that was saved last.

        Raises UsageError where there is none, LabelstreamError where it cannot be read.
        """
        from safetensors import SafetensorError, safe_open

        if not self.exists():
            raise UsageError(
                "there is no unfinished fit of this data with these options to --resume: leave "
                "--resume out, or give the data and options of the fit that was broken off"
            )
        try:
            with safe_open(self._path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                numbers = json.loads((file.metadata() or {})["state"])
            if (numbers["format_version"], numbers["identity"]) != (FORMAT_VERSION, self._identity):
                raise ValueError("another format or another fit")
        except (OSError, SafetensorError, ValueError, KeyError) as error:
            raise LabelstreamError(
                f"{self._path} cannot be read ({error}): remove it, and fit without --resume"
            ) from None
        return FitState(numbers, tensors)

    def save(self, state: FitState) -> None:
        """Replace the saved state by `state`, whole or not at all.

        Raises UsageError if the folder cannot be written.
        """
        from safetensors.torch import save_file

        numbers = {**state.numbers, "format_version": FORMAT_VERSION, "identity": self._identity}
        partial = self._path.with_suffix(".partial")
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            tensors = {name: each.contiguous() for name, each in state.tensors.items()}
            save_file(tensors, partial, metadata={"state": json.dumps(numbers)})
            with partial.open("rb") as file:
                os.fsync(file.fileno())
            partial.replace(self._path)
        except OSError as error:
            raise UsageError(
                f"the state of the fit cannot be written to {self.folder} "
                f"({error.strerror or error}): set LABELSTREAM_HOME_DIR to a folder with room"
            ) from None

    def discard(self) -> None:
        """Remove the state: the fit is finished, or begins anew."""
        shutil.rmtree(self.folder, ignore_errors=True)
