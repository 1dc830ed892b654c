"""`training build`."""

from typing import Annotated

import typer

from training.commands.common import VersionArgument, print_json
from training.commands.making import AsJson
from training.registry import open_registry


def build(
    version: VersionArgument,
    data: Annotated[
        str | None,
        typer.Option(
            help="Labelled data, as training fit takes it, to calibrate with and to check on.",
            show_default="the texts that the version keeps",
        ),
    ] = None,
    json_: AsJson = False,
) -> None:
    """Make a version ready for 8 bits on CPUs like this machine's, which are faster by far."""
    from db.registry.names import parse_ref
    from db.registry.versions import resolve
    from training.building import build as make
    from training.data import read_data
    from worker.builds import build_key

    key = build_key()
    with open_registry() as registry:
        found = resolve(registry.store, parse_ref(version))
        labelled = None if data is None else read_data(data, store=registry.store)
        made = make(registry, found, labelled)
    compared, accuracy = made.agreement, made.build.accuracy
    if json_:
        print_json(
            {
                "model": found.model,
                "version": found.version,
                "engine": key.engine,
                "engine_version": key.engine_version,
                "cpu_features": key.cpu_features,
                "rows": compared.rows,
                "agreement": compared.share,
                "close": compared.close,
                "accuracy": accuracy,
            }
        )
        return
    right = "" if accuracy is None else f", {accuracy:.4f} of them right"
    typer.echo(
        f"{found} is ready for {key.engine} {key.engine_version} on {key.cpu_features}: "
        f"{compared.share:.2%} of {compared.rows:,} labels as with fp32{right}"
    )
    typer.echo("workers on such processors take it when they load the version next")
