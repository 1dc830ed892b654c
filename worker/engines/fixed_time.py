"""An engine that takes a fixed time for each row: a model of known speed, for measurements."""

import time

from worker.engines.constant import ConstantEngine
from worker.engines.protocol import Ids, Logits

#: Seconds a row: 256 rows take 256 ms.
SECONDS_A_ROW = 0.001


class FixedTimeEngine(ConstantEngine):
    """Says what the constant engine says, after a while."""

    name = "fixed-time"

    def __init__(self, labels: int, seconds_a_row: float = SECONDS_A_ROW) -> None:
        super().__init__(labels)
        self._seconds_a_row = seconds_a_row

    def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
        """Return float32 [rows, labels] when the time is over."""
        time.sleep(self._seconds_a_row * len(input_ids))
        return super().logits(input_ids, attention_mask)
