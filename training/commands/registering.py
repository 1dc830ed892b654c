"""`training register` and `training export`: models from elsewhere, and to elsewhere."""

from pathlib import Path
from typing import Annotated, Any

import typer

from training.commands.common import VersionArgument, print_json
from training.commands.making import AsJson, DataName, Labels, Mistakes, names
from training.registry import open_registry


def register(
    source: Annotated[
        str,
        typer.Argument(
            metavar="PATH|HUB_ID",
            help="A folder, or a hub repository: a fine-tuned classifier, or a PEFT adapter.",
        ),
    ],
    model: Annotated[str, typer.Option(help="The model's name in the registry.")],
    data: Annotated[
        str | None,
        typer.Option(
            help="Labelled data to measure and calibrate it on, as training fit takes it."
        ),
    ] = None,
    labels: Labels = None,
    revision: Annotated[
        str | None, typer.Option(help="The commit, branch or tag on the hub.")
    ] = None,
    base: Annotated[
        str | None, typer.Option(help="An adapter's base, where it names none or another.")
    ] = None,
    base_revision: Annotated[
        str | None, typer.Option(help="The base's commit, branch or tag on the hub.")
    ] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=4, help="Tokens a text is cut to; by default what it reads, at most 512."),
    ] = None,
    data_name: DataName = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Terms of the data and the model.")
    ] = None,
    language: Annotated[str | None, typer.Option(help="Language of the texts.")] = None,
    mistakes: Mistakes = True,
    json_: AsJson = False,
) -> None:
    """Register a finished model of your own: checked, copied, with its labels' names."""
    from db.registry.names import check_model_name
    from training.adopting import adopt_version
    from training.data import read_data
    from training.evaluation import evaluation_record
    from training.foreign import Claims, locate

    check_model_name(model)
    named = tuple(names("--labels", labels)) or None
    with open_registry() as registry:
        labelled = read_data(data, named, store=registry.store) if data is not None else None
        claims = Claims(
            labels=named,
            base=base,
            base_revision=base_revision,
            max_length=max_length,
            data_name=data_name or (labelled.name if labelled else None),
            license=license_,
            language=language,
        )
        found = locate(source, revision)
        adopted = adopt_version(registry, found, model, claims, labelled, mistakes=mistakes)
        version = adopted.version
        aliases = _aliases(registry.store, version)
    told: dict[str, Any] = {
        "model": version.model,
        "version": version.version,
        "aliases": aliases,
        "base": version.base,
        "base_revision": version.base_revision,
        "labels": list(version.labels),
        "max_length": version.max_length,
        "license": version.license,
    }
    best = adopted.measured.best if adopted.measured else None
    if json_:
        print_json({**told, **({"split": best.split, **evaluation_record(best)} if best else {})})
        return
    points = f", {', '.join(aliases)}" if aliases else ""
    typer.echo(
        f"{version}{points}: labels {', '.join(version.labels)}; base {version.base}; terms: "
        f"{version.license or 'not stated'}"
    )
    if best is not None:
        typer.echo(
            f"{best.split} accuracy {best.metrics.accuracy:.4f}, macro-F1 "
            f"{best.metrics.macro_f1:.4f}, calibration error {best.ece_calibrated:.4f}"
        )


def export(
    version: VersionArgument,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="A new or empty folder.")],
    adapter: Annotated[
        bool, typer.Option("--adapter", help="Its files as registered, not the merged model.")
    ] = False,
    json_: AsJson = False,
) -> None:
    """Write a version as a plain model folder, which transformers serves without Labelstream."""
    from db.registry.names import parse_ref
    from db.registry.versions import resolve
    from training.artifact import check_out
    from training.exporting import export_registered, export_served

    check_out(folder)
    with open_registry() as registry:
        found = resolve(registry.store, parse_ref(version))
        if adapter:
            export_registered(registry, found, folder)
        else:
            export_served(registry, found, folder)
    if json_:
        print_json({"model": found.model, "version": found.version, "folder": str(folder)})
    else:
        typer.echo(f"{found} is in {folder}")


def _aliases(store: Any, version: Any) -> list[str]:
    from db.registry.aliases import list_aliases

    return sorted(
        alias
        for (model, alias), number in list_aliases(store).items()
        if (model, number) == (version.model, version.version)
    )
