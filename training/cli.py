"""The `training` command."""

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import UsageError, run_command
from training.fit_config import FitConfig

if TYPE_CHECKING:
    from db.registry.versions import Version
    from db.settings import Settings
    from db.store import Store
    from training.artifact import Provenance
    from training.fit import Fit

#: The recipe of the starter model.
DEFAULTS = FitConfig()

#: What a model card says where the user named no licence.
UNKNOWN_LICENSE = "not stated"

app = typer.Typer(
    name="training",
    help="Fit, list and show the models that label text.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


@app.command("fit")
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
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a step.")] = DEFAULTS.batch_size,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data.")] = DEFAULTS.epochs,
    max_length: Annotated[
        int, typer.Option(min=4, help="Tokens a text is cut to.")
    ] = DEFAULTS.max_length,
    seed: Annotated[int, typer.Option(min=0, help="Fixes every random choice.")] = DEFAULTS.seed,
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
        learning_rate=learning_rate,
        batch_size=batch_size,
        epochs=epochs,
        max_length=max_length,
        seed=seed,
    )
    from training.artifact import Provenance, check_out, write_adapter
    from training.data import read_data
    from training.fit import fit
    from training.progress import FitProgress

    # Whatever can be wrong is found out before hours of work, not after.
    if out is not None:
        check_out(out)
    labelled = read_data(data, _label_list(labels))
    provenance = Provenance(
        model=model,
        data_name=data_name or labelled.name,
        license=license_,
        language=language,
        notes=tuple(note or ()),
    )
    with ExitStack() as stack:
        store = stack.enter_context(_registry()) if register else None
        if store is not None:
            from db.registry.versions import check_model_name

            check_model_name(model)
        with FitProgress(labelled, config) as progress:
            finished = fit(labelled, config, progress.step, progress.epoch)
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "adapter"
        write_adapter(finished, labelled, provenance, folder)
        version = None
        if store is not None:
            from training.registering import register as register_adapter

            version = register_adapter(store, _settings().registry, folder, model)
    _report(finished, provenance, version, out, json_)


@app.command()
def versions(
    model: Annotated[str | None, typer.Argument(help="Only this model's.")] = None,
    json_: Annotated[bool, typer.Option("--json", help="One JSON list on stdout.")] = False,
) -> None:
    """List the registered versions: aliases, figures, bases, terms."""
    from db.errors import RegistryError
    from training.listing import version_lines, version_records

    with _registry() as store:
        records = version_records(store, model)
    if model is not None and not records:
        raise RegistryError(f"there is no model {model}: see training versions")
    _print_json(records) if json_ else _print_lines(version_lines(records))


@app.command()
def show(
    version: Annotated[
        str, typer.Argument(metavar="MODEL:VERSION", help="A version, or MODEL@ALIAS.")
    ],
    json_: Annotated[bool, typer.Option("--json", help="One JSON object on stdout.")] = False,
) -> None:
    """Show what is known of one version: figures per label, data, terms, files."""
    from db.registry.versions import parse_ref, resolve
    from training.listing import detail_lines, version_detail

    with _registry() as store:
        found = resolve(store, parse_ref(version))
        detail = version_detail(store, found, _settings().registry)
    _print_json(detail) if json_ else _print_lines(detail_lines(detail))


def _settings() -> "Settings":
    from db.settings import get_settings

    return get_settings()


@contextmanager
def _registry() -> Iterator["Store"]:
    """Open the store of the settings, with its tables and the starter model in place."""
    from db.store import open_store
    from worker.preparing import make_ready

    settings = _settings()
    store = open_store(settings)
    try:
        make_ready(store, settings)
        yield store
    finally:
        store.close()


def _label_list(labels: str | None) -> list[str] | None:
    if labels is None:
        return None
    names = [name.strip() for name in labels.split(",")]
    if not all(names):
        raise UsageError(f"--labels {labels} has an empty name: write a,b,c")
    return names


def _report(
    fit: "Fit",
    provenance: "Provenance",
    version: "Version | None",
    out: Path | None,
    as_json: bool,
) -> None:
    from training.artifact import metrics_record

    split, metrics = ("test", fit.test) if fit.test else ("validation", fit.chosen.validation)
    if as_json:
        _print_json(
            {
                "model": provenance.model,
                "version": version.version if version else None,
                "split": split,
                **metrics_record(metrics),
                "epoch": fit.chosen.number,
                "validation_macro_f1": fit.chosen.validation.macro_f1,
                "base": fit.base.name,
                "license": provenance.license,
                "seconds": round(fit.seconds, 1),
                "out": str(out) if out else None,
            }
        )
        return
    places = " and ".join(str(place) for place in (version, out) if place is not None)
    typer.echo(
        f"{places}: epoch {fit.chosen.number} of {len(fit.epochs)}, {split} accuracy "
        f"{metrics.accuracy:.4f}, macro-F1 {metrics.macro_f1:.4f}; terms: {provenance.license}"
    )


def _print_json(content: object) -> None:
    import orjson

    typer.echo(orjson.dumps(content))


def _print_lines(lines: list[str]) -> None:
    for line in lines:
        typer.echo(line)


def main() -> None:
    """Run the command; the process ends with status 0, 1 or 2."""
    run_command(app)


if __name__ == "__main__":
    main()
