"""`training review accuracy`: what random audits tell of the model's labels on a job."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

from training.commands.common import print_json, print_lines
from training.commands.correcting import AsJson
from training.registry import open_registry

if TYPE_CHECKING:
    from db.agreement import PairAgreement
    from db.audits import Audit
    from db.proportions import Proportion


def accuracy(
    job: Annotated[int, typer.Argument(min=1, help="The job's number.")],
    model_version: Annotated[
        int | None, typer.Option(min=1, help="Of the rows that this version labelled alone.")
    ] = None,
    json_: AsJson = False,
) -> None:
    """Estimate how often the model is right on a job, from the answers for rows chosen at random."""
    from db.audits import audit

    with open_registry() as registry:
        found = audit(registry.store, job, model_version)
    if json_:
        print_json(_record(found))
    else:
        print_lines(_lines(found))


def _record(found: Audit) -> dict[str, Any]:
    pairs = [{**asdict(pair), "share": pair.share} for pair in found.agreement]
    return {
        "job": found.job,
        "model_version": found.model_version,
        **asdict(found.accuracy),
        "precision": {label: asdict(each) for label, each in found.precision.items()},
        "agreement": pairs,
    }


def _lines(found: Audit) -> list[str]:
    whose = "" if found.model_version is None else f" of version {found.model_version}"
    if not found.accuracy.rows:
        way = f"training review export {found.job} FILE --strategy random, and import the answers"
        return [f"no row{whose} of job {found.job} was audited: {way}"]
    names = ["accuracy", *(f"precision of {label}" for label in found.precision)]
    names += [f"{pair.first} and {pair.second}" for pair in found.agreement]
    width = max(map(len, names))
    told = [_told(found.accuracy), *map(_told, found.precision.values())]
    told += [_equal(pair) for pair in found.agreement]
    head = f"job {found.job}{whose}, rows chosen at random, with 95 % intervals"
    lines = [f"{name:{width}}  {words}" for name, words in zip(names, told, strict=True)]
    return [head, *lines]


def _told(each: Proportion) -> str:
    assert each.share is not None  # noqa: S101  (there are rows)
    return (
        f"{each.share:6.1%}  ({each.low:.1%} to {each.high:.1%})  {each.right:,} of {each.rows:,}"
    )


def _equal(pair: PairAgreement) -> str:
    kappa = "" if pair.kappa is None else f", kappa {pair.kappa:.2f}"
    return f"{pair.share:6.1%}  agree{kappa}  {pair.equal:,} of {pair.rows:,}"
