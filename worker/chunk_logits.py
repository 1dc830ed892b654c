"""A chunk's rows on their way through the engine, and what comes back."""

from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from worker.computing import Computed
from worker.encoder import EncodedRows
from worker.loaded_versions import VersionKey
from worker.repeats import Plan


@dataclass(frozen=True)
class ChunkLogits:
    """What the engine made of one submission."""

    #: float32 [rows, labels]; the rows of `rejected` mean nothing.
    logits: npt.NDArray[np.float32]
    #: Why a row has no logits, by its index.
    rejected: Mapping[int, str]
    tokens: int
    #: Seconds of computing, shared among submissions by their tokens.
    busy_seconds: float
    #: Rows that got the logits of an equal row that ran with them.
    repeated: int = 0
    #: Rows whose logits were remembered.
    remembered: int = 0


@dataclass
class Submission:
    """Rows of one chunk until all of them have logits."""

    key: VersionKey
    #: The place of its first row, and where it waits: see `WaitingRows`.
    first: int
    rows: EncodedRows
    #: What tells the rows apart; none on an engine that computes every row.
    row_keys: list[bytes]
    plan: Plan
    #: float32 [rows, labels], filled as the rows are computed.
    logits: npt.NDArray[np.float32]
    rejected: dict[int, str] = field(default_factory=dict)
    busy_seconds: float = 0.0
    begun: bool = False
    #: Micro-batches under way that have rows of it.
    under_way: int = 0
    #: Why it has no logits.
    failure: BaseException | None = None
    #: Whoever waits is told, or is about to be.
    told: bool = False
    future: "Future[ChunkLogits]" = field(default_factory=Future)
    remaining: int = field(init=False)
    repeated: int = field(init=False)
    remembered: int = field(init=False)

    def __post_init__(self) -> None:
        self.remaining = len(self.plan.todo)
        self.repeated = len(self.plan.copies)
        self.remembered = len(self.plan.remembered)

    @property
    def places(self) -> tuple[int, int]:
        """The places of its rows: from the first up to the one after the last."""
        return self.first, self.first + len(self.rows)

    def take(
        self,
        indices: npt.NDArray[np.int64],
        computed: Computed,
        planned: Plan,
        start: int,
        stop: int,
    ) -> None:
        """Take over what came of the rows from `start` up to `stop` of a micro-batch."""
        self.logits[indices] = computed.logits[start:stop]
        for place, reason in computed.rejected.items():
            if start <= place < stop:
                self.rejected[int(indices[place - start])] = reason
        self.repeated += sum(start <= place < stop for place in planned.copies)
        self.remembered += sum(start <= place < stop for place in planned.remembered)
        self.remaining -= len(indices)

    def to_be_told(self) -> bool:
        """Whether whoever waits can be told now, and was not; of several who ask, one is to do it.

        Not while a micro-batch with rows of it is under way, though it failed in another: what that
        does to the process is still its doing. Under the lock of whoever owns it.
        """
        if self.told or self.under_way or (self.remaining and self.failure is None):
            return False
        self.told = True
        return True

    def finish(self) -> None:
        """Give its result, or why there is none, to whoever waits, unless they gave up."""
        if not self.future.set_running_or_notify_cancel():
            return
        try:
            if self.failure is not None:
                raise self.failure
            self.plan.spread(self.logits, self.rejected)
        except BaseException as error:  # noqa: BLE001  (whoever waits gets it)
            self.future.set_exception(error)
            return
        self.future.set_result(
            ChunkLogits(
                self.logits,
                self.rejected,
                len(self.rows.ids),
                self.busy_seconds,
                self.repeated,
                self.remembered,
            )
        )
