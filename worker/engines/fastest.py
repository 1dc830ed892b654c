"""Which way to call a model on a GPU: the fastest that is as right as bf16 is by itself."""

import logging
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import numpy.typing as npt
import torch

from db.errors import RegistryError
from worker.engines.fixed_shapes import SHAPES, TOKENS_A_ROW, FixedShapes, Record, fits
from worker.engines.packed import PackedModel, PackedRows, as_tensors, packed_model
from worker.engines.protocol import Ids
from worker.engines.trial import Trial

log = logging.getLogger(__name__)

#: Ways to call a model, the slowest first: rows with padding; end to end; end to end by recordings.
Way = Literal["padded", "packed", "recorded"]


@dataclass(frozen=True, slots=True)
class Limits:
    """How far logits may be from fp32, in the mean and the furthest of them."""

    mean: float
    largest: float

    #: So many times as far as those of padded rows in bf16 are, the furthest of which is by chance; and
    #: such a share of the largest logit at least.
    TIMES = 2.0, 3.0
    SHARES = 1e-3, 1e-2

    #: What no logits are within.
    NOTHING: ClassVar["Limits"]

    @classmethod
    def of(cls, padded: torch.Tensor, wanted: torch.Tensor) -> "Limits":
        """Return what holds beside the logits of padded rows; not finite ones allow nothing."""
        far = (padded.float().cpu() - wanted).abs()
        if not torch.isfinite(far).all():
            return cls.NOTHING
        (times, times_largest), (share, share_largest) = cls.TIMES, cls.SHARES
        size = float(wanted.abs().max())
        return cls(
            max(times * float(far.mean()), share * size),
            max(times_largest * float(far.max()), share_largest * size),
        )

    def hold(self, found: torch.Tensor, wanted: torch.Tensor) -> bool:
        """Whether logits are within the limits; none is that is not finite."""
        far = (found.float().cpu() - wanted).abs()
        return float(far.mean()) <= self.mean and float(far.max()) <= self.largest


Limits.NOTHING = Limits(-1.0, -1.0)


class FastestForward:
    """A classifier in bf16 on `device`, called the fastest way that works there and is right.

    `model` is in fp32 on the CPU, and moves. Rows by chance are computed in fp32 first: a way whose logits
    are further from these than `Limits` allow is not taken, nor is one that raises anything; at worst rows are
    padded. `record` makes recordings of the device's work; None: there are none. No row has more than
    `longest` tokens; `fastest` allows no faster way. Each step on the device is done within a `turn`.
    Raises `RegistryError` for a model that cannot compute rows as long as they may be.
    """

    def __init__(
        self,
        model: Any,
        device: str,
        longest: int,
        record: Record | None,
        turn: Callable[[], AbstractContextManager[object]] = nullcontext,
        fastest: Way = "recorded",
    ) -> None:
        self._model = model
        self._device = device
        self._packed: PackedModel | None = None
        self._shapes: FixedShapes | None = None
        trial = _tried(model, longest)
        packed = None
        if trial is not None and fastest != "padded":
            with torch.inference_mode():
                packed = packed_model(model, longest, trial)
        if packed is not None:
            packed.detach()
        with turn():
            model.to(device, torch.bfloat16)
        if trial is not None and packed is not None:
            with turn():
                limits = self._limits(trial)
                taken = self._takes(packed, trial, limits)
            if taken and record is not None and fastest == "recorded":
                self._record(FixedShapes(packed, record, device), trial, limits, turn)
        log.info("rows are computed %s", self.way)

    @property
    def way(self) -> Way:
        """How the model is called."""
        if self._packed is None:
            return "padded"
        return "packed" if self._shapes is None else "recorded"

    def laid_out(self, input_ids: Ids, attention_mask: Ids) -> "PackedRows | PaddedRows":
        """Return padded rows, int64 [rows, longest], as `compute` wants them; in any thread."""
        if self._packed is None:
            return PaddedRows(input_ids, attention_mask)
        return PackedRows.of(input_ids, attention_mask, self._packed.uncounted)

    def compute(self, rows: "PackedRows | PaddedRows") -> torch.Tensor:
        """Return the logits of rows, [rows, labels], on the device; within a turn.

        They may stand where the next call puts its own. Raises `torch.cuda.OutOfMemoryError` where there
        is too little memory for so many rows.
        """
        with torch.inference_mode():
            if isinstance(rows, PaddedRows):
                ids, mask = (self._sent(torch.from_numpy(each)) for each in (rows.ids, rows.mask))
                padded: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).logits
                return padded
            found = self._shapes(rows) if self._shapes is not None else None
            if found is None:
                assert self._packed is not None  # noqa: S101
                found = self._packed(*(self._sent(each) for each in as_tensors(rows)))
            return found

    def _sent(self, given: torch.Tensor) -> torch.Tensor:
        if self._device == "cpu":
            return given
        # From memory that stays in its place, so that nobody waits for the copy.
        return given.pin_memory().to(self._device, non_blocking=True)

    def _limits(self, trial: Trial) -> Limits:
        try:
            return Limits.of(self.compute(PaddedRows(trial.ids, trial.mask)), trial.wanted)
        except Exception as error:  # noqa: BLE001  (so many rows at once may be too many)
            log.warning("there is nothing to compare with (%r)", error)
            return Limits.NOTHING

    def _takes(self, packed: PackedModel, trial: Trial, limits: Limits) -> bool:
        """Whether rows end to end are right; if so they are laid out so from now on."""
        try:
            packed.attach()
            self._packed = packed
            if limits.hold(self.compute(self.laid_out(trial.ids, trial.mask)), trial.wanted):
                return True
            log.warning("rows end to end differ too much from fp32")
        except Exception as error:  # noqa: BLE001  (a GPU or its driver may not have it)
            log.warning("rows end to end cannot be computed (%r)", error)
        packed.detach()
        self._packed = None
        return False

    def _record(
        self,
        shapes: FixedShapes,
        trial: Trial,
        limits: Limits,
        turn: Callable[[], AbstractContextManager[object]],
    ) -> None:
        """Take recordings of as many shapes as can be had, if all of these are right."""
        # The largest first: those after it find its memory.
        for size in reversed(SHAPES):
            try:
                # Others may have theirs between two shapes.
                with turn(), torch.inference_mode():
                    shapes.add(size)
                    if not self._right(shapes, size, trial, limits):
                        log.warning("what is recorded differs too much from fp32")
                        return
            except torch.cuda.OutOfMemoryError:
                # It may have been added, and not been tried to its end.
                shapes.remove(size)
                log.warning("there is too little memory for a recording of %s tokens", size)
            except Exception as error:  # noqa: BLE001  (not everything can be recorded)
                log.warning("nothing can be recorded (%r)", error)
                return
        if len(shapes):
            self._shapes = shapes

    def _right(self, shapes: FixedShapes, size: int, trial: Trial, limits: Limits) -> bool:
        """Whether the smallest shape, of so many tokens, is right: full of tokens, of rows, and less full."""
        every = np.arange(len(trial.ids))
        short = every[trial.mask.sum(axis=1) <= TOKENS_A_ROW]
        for chosen in (
            _filling(trial, every, size),
            _filling(trial, short, size),
            every[len(every) // 2 :],
        ):
            rows = self.laid_out(trial.ids[chosen], trial.mask[chosen])
            assert isinstance(rows, PackedRows)  # noqa: S101
            if not len(rows) or not fits(rows, size):
                # Where rows may be as long as these no shape this small has room for them.
                continue
            found = shapes(rows)
            if found is None or not limits.hold(found, trial.wanted[chosen]):
                return False
        return True


@dataclass(frozen=True, slots=True)
class PaddedRows:
    """Rows with padding and their mask of 0 and 1, int64 [rows, longest]."""

    ids: Ids
    mask: Ids


def _tried(model: Any, longest: int) -> Trial | None:
    """Return what a model in fp32 makes of rows by chance; None for one that such rows are nothing to."""
    try:
        with torch.inference_mode():
            return Trial.of(model, longest)
    except (IndexError, RuntimeError) as error:
        # A place past the last one, most of all. On the GPU that would be the end of the process.
        reason = str(error).partition("\n")[0]
        raise RegistryError(
            f"the model cannot compute rows of up to {longest} tokens: {reason}"
        ) from None
    except Exception as error:  # noqa: BLE001  (an architecture may ask for certain tokens)
        log.info("%s cannot be tried: rows are padded (%r)", type(model).__name__, error)
        return None


def _filling(trial: Trial, numbers: npt.NDArray[np.int64], size: int) -> npt.NDArray[np.int64]:
    """Return the numbers of rows, again and again, that fill a shape of so many tokens."""
    lengths = trial.mask.sum(axis=1)[numbers]
    times = size // max(int(lengths.sum()), 1) + 1
    tokens = np.cumsum(np.tile(lengths, times))
    rows = min(int((tokens <= size).sum()), size // TOKENS_A_ROW)
    return np.tile(numbers, times)[:rows]
