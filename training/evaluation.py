"""What a version is worth on labelled texts, by the very classifier and engine that serve."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from db.errors import JobFailed, UsageError
from db.registry.versions import NewVersion, Version
from training.calibration import (
    Bin,
    calibration_error,
    fit_temperature,
    log_loss,
    reliability,
)
from training.data import LabelledData, Split
from training.metrics import Metrics, measure, metrics_record
from worker.builds import ENGINE
from worker.classifier import Classifier
from worker.engines import COMPUTES_NO_MODEL, make_engine
from worker.merge import merge_files

if TYPE_CHECKING:
    from db.settings import Settings


@dataclass(frozen=True)
class Evaluation:
    """How a version did on a split, with one engine, before and after its temperature."""

    split: str
    engine: str
    metrics: Metrics
    #: Of the logits as they are; ECE over 15 bins.
    log_loss: float
    ece: float
    #: Of the logits divided by the temperature.
    temperature: float
    log_loss_calibrated: float
    ece_calibrated: float
    bins: tuple[Bin, ...]
    bins_calibrated: tuple[Bin, ...]
    #: float32 [rows, labels] and int64 [rows], in the order of the split; ids as the version has.
    logits: npt.NDArray[np.float32]
    truth: npt.NDArray[np.int64]

    @property
    def predicted(self) -> npt.NDArray[np.int64]:
        """The label id of each row, int64 [rows]."""
        found: npt.NDArray[np.int64] = self.logits.argmax(axis=1)
        return found

    @property
    def right(self) -> npt.NDArray[np.bool_]:
        """Whether each row's label is the true one, bool [rows]."""
        return np.equal(self.predicted, self.truth)


@contextmanager
def candidate(adapter: Path, described: NewVersion, settings: Settings) -> Iterator[Classifier]:
    """Give the classifier of an adapter that is not registered, merged as the worker merges it."""
    check_measuring(settings)
    if settings.engine == ENGINE:
        raise UsageError(
            f"the engine {ENGINE} needs a build, which only a registered version has: set "
            "LABELSTREAM_ENGINE=auto"
        )
    version = Version(
        **{field: getattr(described, field) for field in NewVersion.__dataclass_fields__}
    )
    with tempfile.TemporaryDirectory(prefix="labelstream-merge-") as folder:
        merge_files(adapter, described, Path(folder), name=described.model)
        engine = make_engine(
            "torch", Path(folder), version, settings.device, threads=settings.threads
        )
        with Classifier(version, engine) as classifier:
            yield classifier


@contextmanager
def registered(model: str, settings: Settings) -> Iterator[Classifier]:
    """Give the classifier of a registered version, as the worker loads it."""
    check_measuring(settings)
    with Classifier.load(model, settings=settings) as classifier:
        yield classifier


def check_measuring(settings: Settings) -> None:
    """Raise `UsageError` where the settings name an engine that computes with no model."""
    if settings.engine in COMPUTES_NO_MODEL:
        raise UsageError(
            f"engine {settings.engine} computes with no model, so there is nothing to measure: "
            "set LABELSTREAM_ENGINE=auto"
        )


def evaluate(
    classifier: Classifier, data: LabelledData, split: str, temperature: float | None = None
) -> Evaluation:
    """Measure `classifier` on the split of `data` called train, validation, test or all.

    Without `temperature`, the one that the version has for this engine counts. The data's labels
    are matched by name. Raises `UsageError` for a label that the version does not know, JobFailed
    if the engine fails on a text.
    """
    rows = named_split(data, split)
    truth = matched_labels(data, rows, classifier)
    logits = _usable_logits(classifier, rows, data)
    if temperature is None:
        temperature = classifier.version.temperature_on(classifier.engine)
    bins = reliability(logits, truth)
    calibrated = reliability(logits, truth, temperature)
    return Evaluation(
        split=split,
        engine=classifier.engine,
        metrics=measure(truth, logits.argmax(axis=1).tolist(), classifier.labels),
        log_loss=log_loss(logits, truth),
        ece=calibration_error(bins),
        temperature=temperature,
        log_loss_calibrated=log_loss(logits, truth, temperature),
        ece_calibrated=calibration_error(calibrated),
        bins=tuple(bins),
        bins_calibrated=tuple(calibrated),
        logits=logits,
        truth=np.asarray(truth),
    )


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


def calibrated(classifier: Classifier, data: LabelledData) -> float:
    """Return the temperature for this classifier's engine, fitted on the validation split.

    Raises as `evaluate` does.
    """
    truth = matched_labels(data, data.validation, classifier)
    return fit_temperature(_usable_logits(classifier, data.validation, data), truth)


def _usable_logits(
    classifier: Classifier, split: Split, data: LabelledData
) -> npt.NDArray[np.float32]:
    logits = classifier.logits(split.texts)
    failed = int((~np.isfinite(logits).all(axis=1)).sum())
    if failed:
        raise JobFailed(f"the engine gave no usable logits for {failed} texts of {data.name}")
    return logits


def named_split(data: LabelledData, name: str) -> Split:
    """Return the split train, validation, test or all; raises `UsageError` if there is none."""
    if name == "all":
        every = [each for each in (data.train, data.validation, data.test) if each is not None]
        return Split(
            tuple(text for each in every for text in each.texts),
            tuple(label for each in every for label in each.label_ids),
        )
    found: Split | None = getattr(data, name)
    if found is None:
        raise UsageError(f"{data.name} has no {name} split: see --split")
    return found


def matched_labels(data: LabelledData, split: Split, classifier: Classifier) -> list[int]:
    """Return the rows' label ids as the classifier numbers them; `UsageError` for a foreign label."""
    ids = {label: i for i, label in enumerate(classifier.labels)}
    used = {data.labels[label_id] for label_id in set(split.label_ids)}
    if foreign := sorted(used - ids.keys()):
        raise UsageError(
            f"{data.name} has the label {foreign[0]!r}, which {classifier.version} does not know: "
            f"its labels are {', '.join(classifier.labels)}"
        )
    return [ids[data.labels[label_id]] for label_id in split.label_ids]
