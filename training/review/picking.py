"""Which rows of a job a person should look at."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any, TypeAlias

from sqlalchemy import ColumnElement, Connection, exists, or_, select

from db.binding import AT_ONCE, portions
from db.corrections.counting import is_answered, is_corrected
from db.corrections.entries import RANDOM
from db.errors import UsageError
from db.ledger.jobs import get_job
from db.schema import Chunk, Job, LabeledText, ModelVersion
from db.store import Store
from training.review.drawing import any_rows, rows_of_labels
from training.review.names import Strategy

#: A row's confidence and number: where a list of the least confident goes on.
Place: TypeAlias = tuple[float, int]

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
    """Return up to `wanted` rows of `job` as `next_rows` chooses them, and the labels there are.

    The same seed picks the same rows of the same table. Raises `UsageError` for a job that is not
    there or has no such row.
    """
    rows = next_rows(store, job, strategy, wanted, seed=seed)
    if not rows:
        lacking = "answered in an audit" if strategy is Strategy.RANDOM else "corrected"
        raise UsageError(
            f"job {job} has no labelled row with its text that nobody has {lacking} yet; "
            f"see: producer status {job}"
        )
    return Review(rows, labels_of(store, job), strategy)


def next_rows(
    store: Store,
    job: int,
    strategy: Strategy,
    wanted: int,
    *,
    label: str | None = None,
    skipped: Set[int] = frozenset(),
    after: Place | None = None,
    seed: int | None = None,
) -> list[PickedRow]:
    """Return up to `wanted` rows of `job` that somebody should look at next.

    `uncertain`: those of least confidence that nobody has corrected, the least first, equal ones by
    their numbers; `after` is the confidence and number of the row to go on behind. `random`: any
    that nobody has answered under `random`, each as likely as the others, corrected or not: they
    tell how often the model is right. `stratified`: of each label as many that nobody has corrected,
    as far as there are. `label` restricts `uncertain` and `stratified` to rows that the model gave
    it. Rows without a stored text are left out, and so are the numbers `skipped`, in which for
    `random` nothing belongs but what was skipped under `random`, for otherwise the sample is none
    of all rows. Without a `seed` each call draws anew. Raises `UsageError` for a job that is not
    there, and for a random sample of one label.
    """
    get_job(store, job)
    if strategy is Strategy.RANDOM and label is not None:
        raise UsageError("a random audit is of all labels: give no label, or another strategy")
    chance = random.Random(seed)  # noqa: S311
    with store.read() as connection:
        if strategy is Strategy.UNCERTAIN:
            return _least_confident(connection, job, wanted, label, skipped, after)
        is_open = _open(job, strategy)
        if strategy is Strategy.RANDOM:
            numbers = any_rows(connection, job, is_open, wanted, chance, skipped)
        else:
            labels = _labels(connection, job) if label is None else [label]
            numbers = _stratified(
                rows_of_labels(connection, job, is_open, wanted, chance, labels, skipped),
                wanted,
                chance,
            )
        found = {row.row: row for row in _of_numbers(connection, job, strategy, numbers)}
    # One that somebody has answered since is there no more.
    return [found[number] for number in numbers if number in found]


def labels_of(store: Store, job: int) -> list[str]:
    """Return the labels of the versions that labelled rows of `job`, each once."""
    with store.read() as connection:
        return _labels(connection, job)


def _open(job: int, strategy: Strategy) -> tuple[ColumnElement[bool], ...]:
    done = is_answered(RANDOM) if strategy is Strategy.RANDOM else is_corrected()
    return (LabeledText.job_id == job, LabeledText.text.is_not(None), ~done)


def _rows(job: int, strategy: Strategy) -> Any:
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
    ).where(*_open(job, strategy))


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


def _least_confident(
    connection: Connection,
    job: int,
    wanted: int,
    label: str | None,
    skipped: Set[int],
    after: Place | None,
) -> list[PickedRow]:
    query = _rows(job, Strategy.UNCERTAIN)
    query = query.order_by(LabeledText.confidence, LabeledText.row_number)
    if label is not None:
        query = query.where(LabeledText.label == label)
    found: list[PickedRow] = []
    while len(found) < wanted:
        # As many as are enough even if all that were skipped are among them.
        most = wanted - len(found) + min(len(skipped), AT_ONCE)
        page = query if after is None else query.where(*_behind(after))
        rows = [_picked(row) for row in connection.execute(page.limit(most))]
        found += [row for row in rows if row.row not in skipped]
        if len(rows) < most:
            break
        after = (rows[-1].confidence, rows[-1].row)
    return found[:wanted]


def _behind(place: Place) -> tuple[ColumnElement[bool], ...]:
    confidence, number = place
    # The first of the two alone is what an index finds.
    return (
        LabeledText.confidence >= confidence,
        or_(LabeledText.confidence > confidence, LabeledText.row_number > number),
    )


def _stratified(
    found: Mapping[str, Sequence[int]], wanted: int, chance: random.Random
) -> list[int]:
    shares = shared_out({label: len(numbers) for label, numbers in found.items()}, wanted)
    chosen = [number for label in sorted(found) for number in found[label][: shares[label]]]
    chance.shuffle(chosen)
    return chosen


def shared_out(there: dict[str, int], wanted: int) -> dict[str, int]:
    """Share `wanted` out as evenly as what is `there` of each allows."""
    shares = dict.fromkeys(there, 0)
    left = min(wanted, sum(there.values()))
    # The rarest first: what one lacks the others share.
    for place, label in enumerate(sorted(there, key=lambda each: (there[each], each))):
        shares[label] = min(there[label], left // (len(there) - place))
        left -= shares[label]
    return shares


def _of_numbers(
    connection: Connection, job: int, strategy: Strategy, numbers: Sequence[int]
) -> Iterator[PickedRow]:
    for some in portions(sorted(numbers)):
        query = _rows(job, strategy).where(LabeledText.row_number.in_(some))
        yield from map(_picked, connection.execute(query))


def _labels(connection: Connection, job: int) -> list[str]:
    # Chunks are few. Rows that are in none, which no worker wrote, are asked themselves.
    by_chunk = exists().where(
        Chunk.job_id == job,
        Job.id == job,
        Job.model == ModelVersion.model,
        Chunk.model_version == ModelVersion.version,
    )
    by_row = exists().where(
        LabeledText.job_id == job,
        LabeledText.model == ModelVersion.model,
        LabeledText.model_version == ModelVersion.version,
    )
    query = select(ModelVersion.labels).order_by(ModelVersion.version)
    found = connection.scalars(query.where(by_chunk)).all() or connection.scalars(
        query.where(by_row)
    )
    return list(dict.fromkeys(label for labels in found for label in labels))
