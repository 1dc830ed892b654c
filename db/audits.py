"""How often the model is right on a job, as far as the answers for rows chosen at random tell."""

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, exists, func, select
from sqlalchemy.orm import aliased

from db.agreement import PairAgreement, agreement
from db.corrections.counting import counts, of_row, stands
from db.corrections.entries import RANDOM
from db.ledger.jobs import get_job
from db.proportions import Proportion, proportion
from db.schema import Correction, LabeledText
from db.store import Store


@dataclass(frozen=True, slots=True)
class Audit:
    """What people's answers tell of the model's labels on a job."""

    job: int
    #: The version whose rows were looked at; None: all of them.
    model_version: int | None
    accuracy: Proportion
    #: By the model's label: of its rows, those that were confirmed.
    precision: Mapping[str, Proportion]
    #: Each two annotators who answered for the same rows, of all rows of the job.
    agreement: tuple[PairAgreement, ...]


def audit(store: Store, job: int, model_version: int | None = None) -> Audit:
    """Estimate the accuracy of the model's labels on `job` from the answers under `random`.

    A row is audited while an answer stands that somebody gave when the row was chosen at random,
    and right if the model's label is what such a person says of it now: the newest of them, where
    there are several. What others say who came to the row in another way does not count here, for
    they come rather to rows that look wrong. The interval takes the rows for drawn with
    replacement, and so is a little too wide where much of the job was audited. Raises `UsageError`
    for a job that is not there.
    """
    get_job(store, job)
    rows: Counter[str] = Counter()
    right: Counter[str] = Counter()
    with store.read() as connection:
        for label, answer, times in connection.execute(_answers(job, model_version)):
            rows[label] += times
            right[label] += times if answer == label else 0
        pairs = agreement(connection, job)
    return Audit(
        job,
        model_version,
        proportion(right.total(), rows.total()),
        {label: proportion(right[label], rows[label]) for label in sorted(rows)},
        pairs,
    )


def _answers(job: int, model_version: int | None) -> Select[Any]:
    """Count the audited rows by the model's label and the answer."""
    drawn = aliased(Correction)
    at_random = exists().where(
        drawn.job_id == Correction.job_id,
        drawn.row_number == Correction.row_number,
        drawn.annotator == Correction.annotator,
        drawn.strategy == RANDOM,
        stands(drawn),
    )
    place = func.row_number().over(
        partition_by=(Correction.job_id, Correction.row_number),
        order_by=(Correction.at.desc(), Correction.id.desc()),
    )
    answers = (
        select(
            LabeledText.label.label("said"), Correction.label.label("answer"), place.label("place")
        )
        .join(LabeledText, of_row())
        .where(Correction.job_id == job, counts(), at_random)
    )
    if model_version is not None:
        answers = answers.where(LabeledText.model_version == model_version)
    found = answers.subquery()
    return (
        select(found.c.said, found.c.answer, func.count())
        .where(found.c.place == 1)
        .group_by(found.c.said, found.c.answer)
    )
