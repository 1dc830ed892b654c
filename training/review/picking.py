"""Which rows of a job a person should look at."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, exists, select

from db.binding import portions
from db.errors import UsageError
from db.ledger.jobs import get_job
from db.schema import Correction, LabeledText, ModelVersion
from db.store import Store
from training.review.names import Strategy

#: Characters of a text's hash that tell it from the others of a job.
_KEY_CHARACTERS = 16


@dataclass(frozen=True, slots=True)
class PickedRow:
    """A labelled row that somebody is to look at."""

    job: int
    row: int
    external_id: str | None
    text: str
    label: str
    confidence: float
    #: As in `emotion:1`.
    version: str
    #: What tells the text: the beginning of its hash.
    key: str


@dataclass(frozen=True, slots=True)
class Review:
    """The rows, the labels that there are, and by what the rows were picked."""

    rows: Sequence[PickedRow]
    labels: Sequence[str]
    strategy: Strategy


def pick(store: Store, job: int, strategy: Strategy, wanted: int, seed: int) -> Review:
    """Return up to `wanted` rows of `job` that nobody has corrected yet.

    `uncertain`: those of least confidence, the least first. `random`: any, each as likely as the
    others, which tells how often the model is right. `stratified`: of each label that was given
    as many, as far as there are. The same seed picks the same rows of the same table. Raises
    `UsageError` for a job that is not there or has no such row.
    """
    get_job(store, job)
    with store.read() as connection:
        if strategy is Strategy.UNCERTAIN:
            query = _rows(job).order_by(LabeledText.confidence, LabeledText.row_number)
            rows = [_picked(row) for row in connection.execute(query.limit(wanted))]
        else:
            numbers = _numbers(connection, job, strategy, wanted, random.Random(seed))  # noqa: S311
            found = {row.row: row for row in _of_numbers(connection, job, numbers)}
            rows = [found[number] for number in numbers]
        labels = _labels(connection, job)
    if not rows:
        raise UsageError(
            f"job {job} has no labelled row with its text that nobody has corrected yet; "
            f"see: producer status {job}"
        )
    return Review(rows, labels, strategy)


def _open(job: int) -> tuple[Any, ...]:
    corrected = exists().where(
        Correction.job_id == LabeledText.job_id, Correction.row_number == LabeledText.row_number
    )
    return (LabeledText.job_id == job, LabeledText.text.is_not(None), ~corrected)


def _rows(job: int) -> Any:
    return select(
        LabeledText.job_id,
        LabeledText.row_number,
        LabeledText.external_id,
        LabeledText.text,
        LabeledText.label,
        LabeledText.confidence,
        LabeledText.model,
        LabeledText.model_version,
        LabeledText.text_hash,
    ).where(*_open(job))


def _picked(row: Any) -> PickedRow:
    return PickedRow(
        row.job_id,
        row.row_number,
        row.external_id,
        row.text,
        row.label,
        row.confidence,
        f"{row.model}:{row.model_version}",
        (row.text_hash or "")[:_KEY_CHARACTERS],
    )


def _numbers(
    connection: Connection, job: int, strategy: Strategy, wanted: int, chance: random.Random
) -> list[int]:
    query = select(LabeledText.label, LabeledText.row_number).where(*_open(job))
    by_label: dict[str, list[int]] = {}
    for label, number in connection.execute(query.order_by(LabeledText.row_number)):
        by_label.setdefault(label if strategy is Strategy.STRATIFIED else "", []).append(number)
    shares = shared_out({label: len(found) for label, found in by_label.items()}, wanted)
    numbers = [
        number
        for label, found in sorted(by_label.items())
        for number in chance.sample(found, shares[label])
    ]
    chance.shuffle(numbers)
    return numbers


def shared_out(there: dict[str, int], wanted: int) -> dict[str, int]:
    """Share `wanted` out as evenly as what is `there` of each allows."""
    shares = dict.fromkeys(there, 0)
    left = min(wanted, sum(there.values()))
    # The rarest first: what one lacks the others share.
    for place, label in enumerate(sorted(there, key=lambda each: (there[each], each))):
        shares[label] = min(there[label], left // (len(there) - place))
        left -= shares[label]
    return shares


def _of_numbers(connection: Connection, job: int, numbers: Sequence[int]) -> Iterator[PickedRow]:
    for some in portions(sorted(numbers)):
        query = _rows(job).where(LabeledText.row_number.in_(some))
        yield from map(_picked, connection.execute(query))


def _labels(connection: Connection, job: int) -> list[str]:
    """Return the labels of the versions that labelled rows of the job, each once."""
    used = (
        select(LabeledText.row_number)
        .where(
            LabeledText.job_id == job,
            LabeledText.model == ModelVersion.model,
            LabeledText.model_version == ModelVersion.version,
        )
        .exists()
    )
    query = select(ModelVersion.labels).where(used).order_by(ModelVersion.version)
    return list(dict.fromkeys(label for labels in connection.scalars(query) for label in labels))
