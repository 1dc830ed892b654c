"""What labelling a chunk gave, in columns: hundreds of rows, and no object for each of them."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class LabeledRows:
    """Rows that a model labelled, a sequence a column, in row order; JSON is written already."""

    row_numbers: Sequence[int] = ()
    external_ids: Sequence[str | None] = ()
    texts: Sequence[str] = ()
    text_hashes: Sequence[str] = ()
    truncated: Sequence[bool] = ()
    labels: Sequence[str] = ()
    confidences: Sequence[float] = ()
    #: JSON objects: the score of each label.
    scores: Sequence[str] = ()
    #: JSON lists of every label that holds, of multi-label models.
    every_label: Sequence[str | None] = ()
    unsure: Sequence[bool] = ()
    #: JSON objects of the columns that are kept.
    extra: Sequence[str | None] = ()

    def __len__(self) -> int:
        return len(self.row_numbers)


@dataclass(frozen=True, slots=True)
class WorkerReject:
    """A row that the worker could not label; `raw` is escaped and at most 4 KB."""

    row_number: int
    reason: str
    raw: str | None


@dataclass(frozen=True)
class ChunkResult:
    """Everything that closing a chunk writes. All rows are of one version and one engine."""

    model: str
    model_version: int
    engine: str
    labeled: LabeledRows = field(default_factory=LabeledRows)
    rejected: Sequence[WorkerReject] = ()
    tokens: int = 0
    busy_seconds: float = 0.0
