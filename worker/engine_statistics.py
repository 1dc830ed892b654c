"""What a process has computed since its start."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from worker.chunk_logits import Submission


@dataclass(frozen=True)
class Statistics:
    """What a process has computed since its start."""

    micro_batches: int = 0
    #: Rows of the submissions that are done, computed or not.
    rows: int = 0
    #: Of these, rows that got the logits of an equal row that ran with them.
    repeated: int = 0
    #: Of these, rows whose logits were remembered.
    remembered: int = 0
    #: Tokens that the engine computed.
    tokens: int = 0
    #: The same with the padding: rows times the longest row, micro-batch by micro-batch.
    padded_tokens: int = 0
    #: Seconds in which anything was computed.
    busy_seconds: float = 0.0
    #: Longest time that passed between two micro-batches while rows waited.
    longest_idle_seconds: float = 0.0

    @property
    def hit_rate(self) -> float:
        """Share of the rows that the engine did not have to compute; 0 before the first row."""
        return (self.repeated + self.remembered) / max(self.rows, 1)

    def computed(self, lengths: npt.NDArray[np.int64], seconds: float) -> "Statistics":
        """Return this after a micro-batch whose computed rows had these lengths, int64 [rows]."""
        longest = int(lengths.max(initial=0))
        return replace(
            self,
            micro_batches=self.micro_batches + bool(len(lengths)),
            tokens=self.tokens + int(lengths.sum()),
            padded_tokens=self.padded_tokens + len(lengths) * longest,
            busy_seconds=self.busy_seconds + seconds,
        )

    def done(self, submission: Submission) -> "Statistics":
        """Return this after a submission of which all rows have logits."""
        return replace(
            self,
            rows=self.rows + len(submission.rows),
            repeated=self.repeated + submission.repeated,
            remembered=self.remembered + submission.remembered,
        )

    def waited(self, seconds: float) -> "Statistics":
        """Return this after rows have waited for `seconds` while nothing was computed."""
        return replace(self, longest_idle_seconds=max(self.longest_idle_seconds, seconds))
