"""What `training fit` and `training retrain` have in common: make a version, and tell of it."""

from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from db.errors import UsageError
from training.commands.common import print_json, print_lines

if TYPE_CHECKING:
    from training.artifact import Provenance
    from training.data import LabelledData
    from training.fit_config import FitConfig
    from training.making import Made
    from training.registry import Registry

#: What both commands understand by the same option.
Out = Annotated[Path | None, typer.Option(help="Also write the adapter to this new folder.")]
Labels = Annotated[str | None, typer.Option(help="Label names in the order of their ids: a,b,c.")]
DataName = Annotated[str | None, typer.Option(help="What the model card calls the data.")]
Notes = Annotated[
    list[str] | None, typer.Option("--note", help="A sentence on the data for the model card.")
]
Resume = Annotated[
    bool, typer.Option("--resume", help="Go on with the same fit that was broken off.")
]
Mistakes = Annotated[
    bool,
    typer.Option(
        "--mistakes/--no-mistakes",
        help="Keep texts of the data with the version: the 20 most confident mistakes in its report, "
        "and some to calibrate engines with.",
    ),
]
PromoteIfBetter = Annotated[
    bool,
    typer.Option(
        "--promote-if-better", help="Let it serve if it beats production on the test split."
    ),
]
AllowLabelChange = Annotated[
    bool,
    typer.Option("--allow-label-change", help="Promote it also if its labels are others."),
]
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")]


@dataclass(frozen=True)
class Wanted:
    """How the version is to be made and told of."""

    out: Path | None
    resume: bool
    mistakes: bool
    promote_if_better: bool
    allow_label_change: bool
    as_json: bool
    why: str = "training fit"
    #: What the JSON object has beside the usual.
    told: dict[str, Any] = field(default_factory=dict)


def names(option: str, given: str | None) -> list[str]:
    """Return the names of an option written a,b,c; raises UsageError for an empty one."""
    found = [name.strip() for name in given.split(",")] if given is not None else []
    if not all(found):
        raise UsageError(f"{option} {given} has an empty name: write a,b,c")
    return found


def check_gate(data: "LabelledData", wanted: Wanted) -> None:
    """Raise UsageError before hours of work where there is nothing that the gate could judge by."""
    if wanted.promote_if_better and data.test is None:
        raise UsageError(
            f"--promote-if-better compares on a test split, which {data.name} does not have: "
            "give a folder with train.*, val.* and test.*"
        )


def make_and_tell(
    data: "LabelledData",
    config: "FitConfig",
    provenance: "Provenance",
    wanted: Wanted,
    registry: "AbstractContextManager[Registry] | None",
) -> None:
    """Fit, register and pass the gate, as `wanted`; print the result."""
    from db.settings import get_settings
    from training.evaluation import check_measuring
    from training.fit_state import FITS_FOLDER, FitStateFile
    from training.gate import Gate
    from training.making import make_version

    # Before hours of work, not after.
    check_measuring(get_settings())
    state = FitStateFile(get_settings().home / FITS_FOLDER, data.fingerprint, config)
    with registry or nullcontext() as opened:
        made = make_version(
            data,
            config,
            provenance,
            out=wanted.out,
            mistakes=wanted.mistakes,
            registry=opened,
            gate=Gate(wanted.allow_label_change) if wanted.promote_if_better else None,
            state=state,
            resume=wanted.resume,
            why=wanted.why,
        )
        report = _report_place(made, wanted, opened)
    if wanted.as_json:
        print_json(_record(made, provenance, wanted, report))
    else:
        print_lines(_lines(made, provenance, wanted, report))


def _report_place(made: "Made", wanted: Wanted, registry: "Registry | None") -> str:
    from training.report import REPORT_FILE

    if made.version is not None and registry is not None:
        return f"{registry.artifacts.where(made.version.adapter)}/{REPORT_FILE}"
    return str(wanted.out / REPORT_FILE) if wanted.out else ""


def _record(made: "Made", provenance: "Provenance", wanted: Wanted, report: str) -> dict[str, Any]:
    from training.comparison import comparison_record
    from training.evaluation import evaluation_record

    fit, version, best, decision = made.fit, made.version, made.measured.best, made.decision
    compared = made.measured.comparison
    return {
        "model": provenance.model,
        "version": version.version if version else None,
        "split": best.split,
        **evaluation_record(best),
        "epoch": fit.chosen.number,
        "validation_macro_f1": made.measured.validation.metrics.macro_f1,
        "base": fit.base.name,
        "license": provenance.license,
        "seconds": round(fit.seconds, 1),
        "out": str(wanted.out) if wanted.out else None,
        "report": report,
        "comparison": comparison_record(compared) if compared else None,
        "promoted": decision.promoted if decision else None,
        "reason": decision.reason if decision else None,
        **wanted.told,
    }


def _lines(made: "Made", provenance: "Provenance", wanted: Wanted, report: str) -> list[str]:
    from training.comparison import comparison_rows
    from training.tables import aligned

    fit, best, measured = made.fit, made.measured.best, made.measured
    lines = []
    if measured.comparison is not None:
        lines += aligned(comparison_rows(measured.comparison))
    elif measured.not_compared is not None:
        lines.append(f"not compared with production: {measured.not_compared}")
    places = " and ".join(str(place) for place in (made.version, wanted.out) if place is not None)
    lines.append(
        f"{places}: epoch {fit.chosen.number} of {len(fit.epochs)}, {best.split} "
        f"accuracy {best.metrics.accuracy:.4f}, macro-F1 {best.metrics.macro_f1:.4f}, calibration "
        f"error {best.ece_calibrated:.4f}; terms: {provenance.license}"
    )
    lines.append(f"report: {report}")
    if made.decision is not None:
        verb = "is in production now" if made.decision.promoted else "is not promoted"
        lines.append(f"{made.version} {verb}: {made.decision.reason}")
    return lines
