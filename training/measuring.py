"""What is measured of a fit before it is registered: by the engine that will serve it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.data import LabelledData
from training.evaluation import Evaluation, calibrated, candidate, evaluate
from training.metrics import Metrics
from training.reference import reference_histograms

if TYPE_CHECKING:
    from db.registry.versions import NewVersion
    from db.settings import Settings


@dataclass(frozen=True)
class Measured:
    """A candidate's calibration and its worth; `test` is None if the data has no test split."""

    temperature: float
    validation: Evaluation
    test: Evaluation | None
    reference: Mapping[str, Any]

    @property
    def best(self) -> Evaluation:
        """The evaluation that counts: on the test split, else on validation."""
        return self.test or self.validation

    @property
    def engine(self) -> str:
        """The engine that all of this was measured with."""
        return self.validation.engine


def measure_candidate(
    adapter: Path, described: NewVersion, data: LabelledData, settings: Settings
) -> Measured:
    """Fit the temperature on the validation split, and measure with it on validation and test.

    The test split is looked at here and nowhere else.
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
    return Measured(temperature, validation, test, reference)


def evaluation_record(evaluation: Evaluation) -> dict[str, Any]:
    """Return an evaluation as JSON holds it: `metrics_record`, log loss and ECE."""
    return {
        **metrics_record(evaluation.metrics),
        "log_loss": evaluation.log_loss,
        "ece": evaluation.ece,
        "temperature": evaluation.temperature,
        "log_loss_calibrated": evaluation.log_loss_calibrated,
        "ece_calibrated": evaluation.ece_calibrated,
        "engine": evaluation.engine,
    }


def metrics_record(metrics: Metrics) -> dict[str, Any]:
    """Return metrics as JSON holds them: rows, accuracy, macro_f1, per_class by label, confusion."""
    return {
        "rows": metrics.rows,
        "accuracy": metrics.accuracy,
        "macro_f1": metrics.macro_f1,
        "per_class": {
            one.label: {
                "precision": one.precision,
                "recall": one.recall,
                "f1": one.f1,
                "support": one.support,
            }
            for one in metrics.per_class
        },
        "confusion": [list(row) for row in metrics.confusion],
    }
