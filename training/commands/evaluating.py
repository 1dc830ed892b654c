"""`training evaluate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from training.commands.common import VersionArgument, print_json, print_lines
from training.commands.making import AsJson, Labels, names
from training.registry import open_registry

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.data import LabelledData
    from training.evaluation import Evaluation
    from training.registry import Registry


def evaluate(
    version: VersionArgument,
    data: Annotated[str, typer.Option(help="Labelled data, as training fit takes it.")],
    split: Annotated[
        Literal["train", "validation", "test", "all"] | None,
        typer.Option(help="Rows to measure on; by default test if there is one, or validation."),
    ] = None,
    recalibrate: Annotated[
        bool,
        typer.Option(
            "--recalibrate",
            help="Fit the temperature on this data's validation split even if there is one.",
        ),
    ] = False,
    labels: Labels = None,
    report: Annotated[
        Path | None, typer.Option(help="Write the page with figures and charts to this file.")
    ] = None,
    mistakes: Annotated[
        bool,
        typer.Option(
            "--mistakes/--no-mistakes", help="Show the 20 most confident mistakes on the page."
        ),
    ] = True,
    json_: AsJson = False,
) -> None:
    """Measure a version with the worker's own engine, and calibrate it if that was not done."""
    from db.registry.names import parse_ref
    from db.registry.versions import resolve, set_temperature
    from training.data import read_data
    from training.evaluation import (
        calibrated,
        evaluate,
        evaluation_record,
        named_split,
        registered,
    )
    from training.user import current_user

    if report is not None:
        _check_report(report)
    with open_registry() as registry:
        found = resolve(registry.store, parse_ref(version))
        labelled = read_data(data, names("--labels", labels) or None, store=registry.store)
        chosen = split or ("test" if labelled.test else "validation")
        # What is not there is found out before the model is loaded.
        named_split(labelled, chosen)
        with registered(str(found), registry.settings) as classifier:
            temperature = found.temperature.get(classifier.engine)
            calibrate = recalibrate or temperature is None
            if calibrate:
                temperature = calibrated(classifier, labelled)
            measured = evaluate(classifier, labelled, chosen, temperature)
        if calibrate:
            set_temperature(
                registry.store, found, measured.engine, measured.temperature, who=current_user()
            )
        if report is not None:
            _write_report(report, registry, found, labelled, measured, mistakes)
    if json_:
        print_json(
            {
                "model": found.model,
                "version": found.version,
                "split": measured.split,
                **evaluation_record(measured),
                "calibrated": calibrate,
                "data": labelled.name,
                "data_fingerprint": labelled.fingerprint,
                "report": str(report) if report else None,
            }
        )
        return
    print_lines(_lines(found, labelled, measured))
    if calibrate:
        typer.echo(
            f"{found} divides its logits by {measured.temperature:.4f} from now on (engine "
            f"{measured.engine}; fitted on {len(labelled.validation.texts):,} rows of validation)"
        )
    if report is not None:
        typer.echo(f"report: {report}")


def _check_report(path: Path) -> None:
    from db.errors import UsageError

    if path.is_dir():
        raise UsageError(f"{path} is a folder: give --report a file")
    if not path.parent.is_dir():
        raise UsageError(f"cannot write {path}: there is no folder {path.parent}")


def _lines(found: "Version", data: "LabelledData", measured: "Evaluation") -> list[str]:
    from training.tables import aligned

    metrics = measured.metrics
    figures: list[tuple[str, ...]] = [("label", "precision", "recall", "F1", "rows")]
    figures += [
        (one.label, f"{one.precision:.4f}", f"{one.recall:.4f}", f"{one.f1:.4f}", str(one.support))
        for one in metrics.per_class
    ]
    confusion: list[tuple[str, ...]] = [("true \\ predicted", *found.labels)]
    confusion += [
        (label, *map(str, row)) for label, row in zip(found.labels, metrics.confusion, strict=True)
    ]
    where = f"{measured.split} of {data.name}: {metrics.rows:,} rows, engine {measured.engine}"
    confidence = (
        f"log loss {measured.log_loss_calibrated:.4f} ({measured.log_loss:.4f} without "
        f"temperature), calibration error {measured.ece_calibrated:.4f} ({measured.ece:.4f} "
        f"without), temperature {measured.temperature:.4f}"
    )
    return [
        f"{found} on {where}",
        f"accuracy {metrics.accuracy:.4f}, macro-F1 {metrics.macro_f1:.4f}",
        confidence,
        "",
        *aligned(figures),
        "",
        *aligned(confusion),
    ]


def _write_report(
    path: Path,
    registry: "Registry",
    found: "Version",
    data: "LabelledData",
    measured: "Evaluation",
    mistakes: bool,
) -> None:
    from db.errors import UsageError
    from training.evaluation import named_split
    from training.mistakes import confident_mistakes
    from training.report import report_page
    from worker.adapters import read_description

    folder = registry.artifacts.verified(found.adapter, found.adapter_sha256)
    about: dict[str, Any] = {**read_description(folder), "labels": list(found.labels)}
    texts = named_split(data, measured.split).texts
    page = report_page(
        f"{found} on {data.name}",
        about,
        measured,
        mistakes=confident_mistakes(measured, texts, found.labels) if mistakes else None,
    )
    try:
        path.write_text(page, encoding="utf-8")
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error.strerror or error}") from None
