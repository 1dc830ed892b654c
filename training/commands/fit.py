"""`training fit`."""

from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from db.errors import UsageError
from training.commands.common import open_registry, print_json
from training.fit_config import FitConfig

if TYPE_CHECKING:
    from training.artifact import Provenance
    from training.making import Made

#: The recipe of the starter model.
DEFAULTS = FitConfig()

#: What a model card says where the user named no licence.
UNKNOWN_LICENSE = "not stated"


def fit_command(
    data: Annotated[
        str,
        typer.Option(
            help="A label file (CSV, TSV, JSONL, Parquet with text and label, or lines "
            "text;label), a folder with train.*, val.* and test.*, or a hub data set."
        ),
    ],
    model: Annotated[str, typer.Option(help="The model's name in the registry.")] = "emotion",
    base: Annotated[str, typer.Option(help="Base model: a hub name or a folder.")] = DEFAULTS.base,
    base_revision: Annotated[
        str | None, typer.Option(help="The base's commit, branch or tag on the hub.")
    ] = DEFAULTS.base_revision,
    lora_r: Annotated[int, typer.Option(min=1, help="LoRA's rank.")] = DEFAULTS.lora_r,
    lora_alpha: Annotated[int, typer.Option(min=1, help="LoRA's scale.")] = DEFAULTS.lora_alpha,
    lora_dropout: Annotated[
        float, typer.Option(min=0, max=0.9, help="LoRA's dropout.")
    ] = DEFAULTS.lora_dropout,
    learning_rate: Annotated[
        float, typer.Option(min=0, help="AdamW's highest rate.")
    ] = DEFAULTS.learning_rate,
    rslora: Annotated[
        bool, typer.Option("--rslora/--no-rslora", help="Scale LoRA by alpha / sqrt(r).")
    ] = DEFAULTS.rslora,
    dora: Annotated[
        bool, typer.Option("--dora/--no-dora", help="Decompose weights into length and direction.")
    ] = DEFAULTS.dora,
    target_modules: Annotated[
        str | None,
        typer.Option(help="Layers that LoRA adapts: a,b,c; otherwise by the architecture."),
    ] = None,
    weight_decay: Annotated[
        float, typer.Option(min=0, help="AdamW's weight decay.")
    ] = DEFAULTS.weight_decay,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a batch.")] = DEFAULTS.batch_size,
    accumulate: Annotated[
        int, typer.Option(min=1, help="Batches whose gradients are summed up before a step.")
    ] = DEFAULTS.accumulate,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = DEFAULTS.epochs,
    patience: Annotated[
        int,
        typer.Option(
            min=0, help="Epochs without a better validation macro-F1 that end it; 0: none."
        ),
    ] = DEFAULTS.patience,
    label_smoothing: Annotated[
        float, typer.Option(min=0, max=0.9, help="Share of the truth spread over all labels.")
    ] = DEFAULTS.label_smoothing,
    class_weights: Annotated[
        Literal["none", "balanced"],
        typer.Option(help="balanced: rare labels count as much as frequent ones."),
    ] = DEFAULTS.class_weights,
    average_decay: Annotated[
        float,
        typer.Option(min=0, max=0.99999, help="Decay of the average of the weights; 0: none."),
    ] = DEFAULTS.average_decay,
    max_length: Annotated[
        int, typer.Option(min=4, help="Tokens a text is cut to.")
    ] = DEFAULTS.max_length,
    seed: Annotated[int, typer.Option(min=0, help="Fixes every random choice.")] = DEFAULTS.seed,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the same fit that was broken off.")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(help="Also write the adapter to this new folder.")
    ] = None,
    labels: Annotated[
        str | None, typer.Option(help="Label names in the order of their ids: a,b,c.")
    ] = None,
    data_name: Annotated[
        str | None, typer.Option(help="What the model card calls the data.")
    ] = None,
    note: Annotated[
        list[str] | None, typer.Option(help="A sentence on the data for the model card.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="Terms of the data and the model.")
    ] = UNKNOWN_LICENSE,
    language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    json_: Annotated[
        bool, typer.Option("--json", help="One JSON object on stdout, nothing else.")
    ] = False,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Register the result as a version.")
    ] = True,
) -> None:
    """Fine-tune a classifier with LoRA, keep the best epoch, write it with a model card."""
    if not register and out is None:
        raise UsageError("--no-register needs --out DIR: the result would be lost")
    config = FitConfig(
        base=base,
        base_revision=base_revision,
        lora_r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        rslora=rslora,
        dora=dora,
        target_modules=tuple(_names("--target-modules", target_modules)),
        weight_decay=weight_decay,
        accumulate=accumulate,
        patience=patience,
        label_smoothing=label_smoothing,
        class_weights=class_weights,
        average_decay=average_decay,
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        max_length=max_length,
        seed=seed,
    )
    from db.registry.names import check_model_name
    from db.settings import get_settings
    from training.artifact import Provenance, check_out
    from training.data import read_data
    from training.fit_state import FITS_FOLDER, FitStateFile
    from training.making import make_version

    # Whatever can be wrong is found out before hours of work, not after.
    if out is not None:
        check_out(out)
    labelled = read_data(data, _names("--labels", labels) or None)
    provenance = Provenance(
        model=model,
        data_name=data_name or labelled.name,
        license=license_,
        language=language,
        notes=tuple(note or ()),
    )
    state = FitStateFile(get_settings().home / FITS_FOLDER, labelled.fingerprint, config)
    with ExitStack() as stack:
        registry = None
        if register:
            check_model_name(model)
            opened = stack.enter_context(open_registry())
            registry = (opened.store, opened.artifacts)
        made = make_version(
            labelled, config, provenance, out=out, registry=registry, state=state, resume=resume
        )
    _report(made, provenance, out, json_)


def _names(option: str, given: str | None) -> list[str]:
    names = [name.strip() for name in given.split(",")] if given is not None else []
    if not all(names):
        raise UsageError(f"{option} {given} has an empty name: write a,b,c")
    return names


def _report(
    made: "Made",
    provenance: "Provenance",
    out: Path | None,
    as_json: bool,
) -> None:
    from training.measuring import evaluation_record

    fit, version, best = made.fit, made.version, made.measured.best
    if as_json:
        print_json(
            {
                "model": provenance.model,
                "version": version.version if version else None,
                "split": best.split,
                **evaluation_record(best),
                "epoch": fit.chosen.number,
                "validation_macro_f1": made.measured.validation.metrics.macro_f1,
                "base": fit.base.name,
                "license": provenance.license,
                "seconds": round(fit.seconds, 1),
                "out": str(out) if out else None,
            }
        )
        return
    places = " and ".join(str(place) for place in (version, out) if place is not None)
    typer.echo(
        f"{places}: epoch {fit.chosen.number} of {len(fit.epochs)}, {best.split} "
        f"accuracy {best.metrics.accuracy:.4f}, macro-F1 {best.metrics.macro_f1:.4f}, calibration "
        f"error {best.ece_calibrated:.4f}; terms: {provenance.license}"
    )
