"""Which way to call a model on a GPU: the fastest that is as right as bf16 is by itself."""

import logging
import math
from typing import Any, Literal

import torch

from db.errors import RegistryError
from worker.engines.fixed_shapes import FixedShapes, Record
from worker.engines.packed import PackedModel, PackedRows, Trial, as_tensors, packed_model
from worker.engines.protocol import Ids

log = logging.getLogger(__name__)

#: Ways to call a model, the slowest first: rows with padding; end to end; end to end by recordings.
Way = Literal["padded", "packed", "recorded"]

#: So many times as far from fp32 as padded rows in bf16 are, a way may be; and beside the largest logit.
_TIMES_AS_FAR = 2.0
_ALLOWED = 1e-3


class FastestForward:
    """A classifier in bf16 on `device`, called the fastest way that works there and is right.

    `model` is in fp32 on the CPU, and moves. Rows by chance are computed in fp32 first: a way whose logits
    are more than twice as far from these as those of padded rows in bf16 is not taken, nor is one that
    raises anything. `record` makes recordings of the device's work; None: there are none. `fastest`: no faster
    way is tried. No row has more than `longest` tokens. Not safe for several threads. Raises `RegistryError`
    for a model that cannot compute these rows in fp32.
    """

    def __init__(
        self,
        model: Any,
        device: str,
        longest: int,
        record: Record | None,
        fastest: Way = "recorded",
    ) -> None:
        self._model = model
        self._device = device
        self._packed: PackedModel | None = None
        self._shapes: FixedShapes | None = None
        with torch.inference_mode():
            try:
                trial = Trial.of(model, longest)
            except Exception as error:  # noqa: BLE001  (a damaged model may raise anything)
                # On the GPU such a row would be the end of the process.
                raise RegistryError(
                    f"the model cannot compute a row of {longest} tokens ({error})"
                ) from None
            packed = packed_model(model, longest, trial) if fastest != "padded" else None
        if packed is not None:
            packed.detach()
        model.to(device, torch.bfloat16)
        with torch.inference_mode():
            allowed = _TIMES_AS_FAR * _far(self._padded(trial.ids, trial.mask), trial.wanted)
            allowed = max(allowed, _ALLOWED * float(trial.wanted.abs().max()))
            if packed is not None:
                self._try(packed, trial, allowed)
            if self._packed is not None and record is not None and fastest == "recorded":
                self._try_recordings(record, trial, allowed)
        log.info("rows are computed %s", self.way)

    @property
    def way(self) -> Way:
        """How the model is called."""
        if self._packed is None:
            return "padded"
        return "packed" if self._shapes is None else "recorded"

    def __call__(self, input_ids: Ids, attention_mask: Ids) -> torch.Tensor:
        """Return the logits of padded rows, [rows, labels], on the device.

        They may stand where the next call puts its own. Raises `torch.cuda.OutOfMemoryError` where there
        is too little memory for so many rows.
        """
        if self._packed is None:
            return self._padded(input_ids, attention_mask)
        rows = PackedRows.of(input_ids, attention_mask)
        found = self._recorded(rows)
        if found is None:
            found = self._packed(*(self._sent(each) for each in as_tensors(rows)))
        return found

    def _recorded(self, rows: PackedRows) -> torch.Tensor | None:
        if self._shapes is None:
            return None
        try:
            return self._shapes(rows)
        except torch.cuda.OutOfMemoryError:
            raise
        except RuntimeError as error:
            log.warning("no further recording can be made (%s)", error)
            self._shapes = None
            return None

    def _padded(self, input_ids: Ids, attention_mask: Ids) -> torch.Tensor:
        ids, mask = (self._sent(torch.from_numpy(each)) for each in (input_ids, attention_mask))
        found: torch.Tensor = self._model(input_ids=ids, attention_mask=mask).logits
        return found

    def _sent(self, given: torch.Tensor) -> torch.Tensor:
        if self._device == "cpu":
            return given
        # From memory that stays in its place, so that nobody waits for the copy.
        return given.pin_memory().to(self._device, non_blocking=True)

    def _try(self, packed: PackedModel, trial: Trial, allowed: float) -> None:
        try:
            packed.attach()
            self._packed = packed
            if (far := _far(self(trial.ids, trial.mask), trial.wanted)) <= allowed:
                return
            log.warning("rows end to end differ from fp32 by %.4f: not taken", far)
        except Exception as error:  # noqa: BLE001  (a GPU or its driver may not have it)
            log.warning("rows end to end cannot be computed here (%r)", error)
        packed.detach()
        self._packed = None

    def _try_recordings(self, record: Record, trial: Trial, allowed: float) -> None:
        assert self._packed is not None  # noqa: S101
        self._shapes = FixedShapes(self._packed, record, self._device)
        half = len(trial.ids) // 2
        # Some, others, and all of them: what an earlier call left behind must show nowhere.
        for part in (slice(half), slice(half, None), slice(None)):
            try:
                found = self._recorded(PackedRows.of(trial.ids[part], trial.mask[part]))
                if found is not None and _far(found, trial.wanted[part]) <= allowed:
                    continue
            except torch.cuda.OutOfMemoryError:
                pass
            log.warning("recordings are not taken here")
            self._shapes = None
            return


def _far(found: torch.Tensor, wanted: torch.Tensor) -> float:
    """Return how far logits are from others, in the mean; infinity where any is not finite."""
    far = float((found.float().cpu() - wanted).abs().mean())
    return far if math.isfinite(far) else math.inf
