"""`training retrain`."""

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated

import typer

from db.errors import RegistryError
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
from training.registry import open_registry

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.fit_config import FitConfig
    from training.registry import Registry


def retrain(
    data: Annotated[str, typer.Option(help="The original data, as training fit takes it.")],
    model: Annotated[str, typer.Option(help="The model's name in the registry.")] = "emotion",
    promote_if_better: PromoteIfBetter = False,
    allow_label_change: AllowLabelChange = False,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Passes over the data; by default as before.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(min=0, help="AdamW's highest rate; by default as before.")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(min=0, help="Fixes every random choice; by default as before.")
    ] = None,
    resume: Resume = False,
    out: Out = None,
    labels: Labels = None,
    data_name: DataName = None,
    note: Notes = None,
    license_: Annotated[
        str | None, typer.Option("--license", help="Terms; by default as before.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="Language of the texts; by default as before.")
    ] = None,
    mistakes: Mistakes = True,
    json_: AsJson = False,
) -> None:
    """Fit the version in production anew, on the original data and on people's corrections."""
    from dataclasses import replace

    from db.corrections import corrected_without_text, newest_by_text
    from training.artifact import Provenance, check_out
    from training.data import read_data, with_label_order
    from training.retraining import corrected_data

    if out is not None:
        check_out(out)
    with open_registry() as registry:
        parent = registry.production(model)
        if parent is None:
            raise RegistryError(
                f"{model} has no version in production to retrain: promote one, or see "
                "training versions"
            )
        original = read_data(data, names("--labels", labels) or None, store=registry.store)
        if sorted(original.labels) == sorted(parent.labels):
            original = with_label_order(original, parent.labels)
        with registry.store.read() as connection:
            corrections = newest_by_text(connection, model)
            without_text = corrected_without_text(connection, model)
        corrected, counts = corrected_data(original, corrections, without_text)
        before = parent_config(registry, parent)
        config = replace(
            before,
            epochs=before.epochs if epochs is None else epochs,
            learning_rate=before.learning_rate if learning_rate is None else learning_rate,
            seed=before.seed if seed is None else seed,
        )
        provenance = Provenance(
            model=model,
            data_name=data_name or original.name,
            license=license_ or parent.license or "not stated",
            language=language or parent.language or "not stated",
            notes=tuple(note or ()),
            parent_version=parent.version,
        )
        wanted = Wanted(
            out=out,
            resume=resume,
            mistakes=mistakes,
            promote_if_better=promote_if_better,
            allow_label_change=allow_label_change,
            as_json=json_,
            why=f"retrained from {parent} with {len(corrections)} corrected texts",
            told={"parent_version": parent.version, "corrections": counts.record()},
        )
        check_gate(corrected, wanted)
        make_and_tell(corrected, config, provenance, wanted, nullcontext(registry))


def parent_config(registry: "Registry", parent: "Version") -> "FitConfig":
    """Return the recipe that `parent` was fitted by, as its folder says; else the usual one."""
    from training.fit_config import recorded_config
    from worker.adapters import read_description

    folder = registry.artifacts.verified(parent.adapter, parent.adapter_sha256)
    return recorded_config(read_description(folder))
