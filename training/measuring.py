"""What is measured of a fit before it is registered: by torch, for no build of it is there yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import LabelstreamError, one_line
from training.comparison import Comparison, compare_with
from training.data import LabelledData
from training.evaluation import Evaluation, calibrated, candidate, evaluate
from training.reference import reference_histograms

if TYPE_CHECKING:
    from db.registry.versions import NewVersion, Version
    from db.settings import Settings


@dataclass(frozen=True)
class Measured:
    """A candidate's calibration and its worth; `test` is None if the data has no test split."""

    temperature: float
    validation: Evaluation
    test: Evaluation | None
    reference: Mapping[str, Any]
    #: With the version in production, if there is one; or why it could not be compared.
    comparison: Comparison | None = None
    not_compared: str | None = None

    @property
    def best(self) -> Evaluation:
        """The evaluation that counts: on the test split, else on validation."""
        return self.test or self.validation

    @property
    def engine(self) -> str:
        """The engine that all of this was measured with."""
        return self.validation.engine


def measure_candidate(
    adapter: Path,
    described: NewVersion,
    data: LabelledData,
    settings: Settings,
    champion: Version | None = None,
) -> Measured:
    """Fit the temperature on the validation split, and measure with it on validation and test.

    `champion`, the version in production, is measured on the same rows. The test split is looked
    at here and nowhere else.
    """
    with candidate(adapter, described, settings) as classifier:
        temperature = calibrated(classifier, data)
        validation = evaluate(classifier, data, "validation", temperature)
        test = evaluate(classifier, data, "test", temperature) if data.test else None
        best = test or validation
        texts = (data.test or data.validation).texts
        reference = reference_histograms(
            best.logits, temperature, classifier.labels, classifier.tokens(texts), best.split
        )
    comparison, not_compared = None, None
    if champion is not None:
        comparison, not_compared = _compared(champion, described, best, data, settings)
    return Measured(temperature, validation, test, reference, comparison, not_compared)


def _compared(
    champion: Version,
    described: NewVersion,
    best: Evaluation,
    data: LabelledData,
    settings: Settings,
) -> tuple[Comparison | None, str | None]:
    if sorted(champion.labels) != sorted(described.labels):
        return None, f"{champion} has other labels: {', '.join(champion.labels)}"
    try:
        return compare_with(str(champion), best, data, settings), None
    except LabelstreamError as error:
        # The fit is worth keeping, whatever is wrong with its predecessor.
        return None, f"{champion} cannot be loaded: {one_line(error)}"
