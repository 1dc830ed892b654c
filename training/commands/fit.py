"""`training fit`."""

from typing import Annotated, Literal

import typer

from db.errors import UsageError
from training.commands.making import (
    AllowLabelChange,
    AsJson,
    DataName,
    Labels,
    Mistakes,
    Notes,
    Out,
    PromoteIfBetter,
    Resume,
    Wanted,
    check_gate,
    make_and_tell,
    names,
)
from training.fit_config import FitConfig
from training.registry import open_registry

#: The recipe that did best (docs/quality.md).
DEFAULTS = FitConfig()

#: What a model card says where the user named no licence.
UNKNOWN_LICENSE = "not stated"


def fit_command(
    data: Annotated[
        str,
        typer.Option(
            help="A label file (CSV, TSV, JSONL, Parquet with text and label, or lines "
            "text;label), a folder with train.*, val.* and test.*, a hub data set, or the rows of "
            "a job: job:12, or job:12:corrected for those that were corrected."
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
    resume: Resume = False,
    out: Out = None,
    labels: Labels = None,
    data_name: DataName = None,
    note: Notes = None,
    license_: Annotated[
        str, typer.Option("--license", help="Terms of the data and the model.")
    ] = UNKNOWN_LICENSE,
    language: Annotated[str, typer.Option(help="Language of the texts.")] = "en",
    mistakes: Mistakes = True,
    promote_if_better: PromoteIfBetter = False,
    allow_label_change: AllowLabelChange = False,
    json_: AsJson = False,
    register: Annotated[
        bool, typer.Option("--register/--no-register", help="Register the result as a version.")
    ] = True,
) -> None:
    """Fine-tune a classifier with LoRA, keep the best epoch, write it with a model card."""
    if not register and out is None:
        raise UsageError("--no-register needs --out DIR: the result would be lost")
    if promote_if_better and not register:
        raise UsageError("--promote-if-better goes with --register: only a version can serve")
    config = FitConfig(
        base=base,
        base_revision=base_revision,
        lora_r=lora_r,
        lora_alpha=lora_alpha,
        lora_dropout=lora_dropout,
        rslora=rslora,
        dora=dora,
        target_modules=tuple(names("--target-modules", target_modules)),
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
    from training.artifact import Provenance, check_out
    from training.data import read_data

    # Whatever can be wrong is found out before hours of work, not after.
    if out is not None:
        check_out(out)
    if register:
        check_model_name(model)
    labelled = read_data(data, names("--labels", labels) or None)
    provenance = Provenance(
        model=model,
        data_name=data_name or labelled.name,
        license=license_,
        language=language,
        notes=tuple(note or ()),
    )
    wanted = Wanted(
        out=out,
        resume=resume,
        mistakes=mistakes,
        promote_if_better=promote_if_better,
        allow_label_change=allow_label_change,
        as_json=json_,
    )
    check_gate(labelled, wanted)
    make_and_tell(labelled, config, provenance, wanted, open_registry() if register else None)
