"""The final count: what differs between a source and what became of its rows."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy import text

from db.store import Store

#: Whether a label is the right one for a text.
Judge = Callable[[str, str], bool]


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A row as it stands in the source; one without text is to be rejected."""

    id: str
    text: str


def differences(
    store: Store,
    job: int,
    source: Sequence[SourceRow],
    judge: Judge,
    versions: Collection[int],
) -> list[str]:
    """Return in words what is wrong with a job that should be done; nothing if all is right.

    Every row of `source` is in exactly one place, with its own text, a label that `judge` finds
    right, and a version among `versions`; the sums of the chunks say the same.
    """
    with store.read() as connection:
        state = connection.scalar(text("SELECT state FROM jobs WHERE id = :job"), {"job": job})
        labeled = connection.execute(
            text(
                "SELECT row_number, external_id, text, label, model_version FROM labeled_texts"
                " WHERE job_id = :job ORDER BY row_number"
            ),
            {"job": job},
        ).all()
        rejected = connection.scalars(
            text("SELECT row_number FROM rejects WHERE job_id = :job"), {"job": job}
        ).all()
    wanted = {number: row for number, row in enumerate(source, 1) if row.text}
    blank = {number for number, row in enumerate(source, 1) if not row.text}
    known = {row.row_number: row for row in labeled if row.row_number in wanted}
    ids = Counter(row.external_id for row in labeled)
    found = [] if state == "done" else [f"job {job} is {state}"]
    found += _named("missing", wanted.keys() - known.keys() - set(rejected))
    found += _named("missing among the rejects", blank - set(rejected))
    found += _named("in two places", {row.row_number for row in labeled} & set(rejected))
    found += _named("there twice", [name for name, count in ids.items() if count > 1])
    found += _named("that nobody sent", {row.row_number for row in labeled} - wanted.keys())
    found += _named("rejected though they have a text", set(rejected) - blank)
    found += _named(
        "with another's text or id",
        [n for n, row in known.items() if SourceRow(row.external_id, row.text) != wanted[n]],
    )
    found += _named(
        "labelled wrongly", [n for n, row in known.items() if not judge(row.text, row.label)]
    )
    found += _named(
        f"of a version not among {sorted(versions)}",
        [n for n, row in known.items() if row.model_version not in versions],
    )
    return found + _wrong_sums(store, job, len(source), len(labeled), len(rejected))


def _named(what: str, rows: Iterable[object]) -> list[str]:
    some = list(rows)
    return [f"{len(some)} rows {what}, such as {some[0]}"] if some else []


def _wrong_sums(store: Store, job: int, rows: int, labeled: int, rejected: int) -> list[str]:
    query = text(
        "SELECT sum(CASE WHEN parent_number IS NULL THEN row_count ELSE 0 END) AS rows,"
        " sum(labeled) AS labeled, sum(rejected_parsed + rejected_worker) AS rejected,"
        " sum(CASE WHEN state IN ('done', 'split') THEN 0 ELSE 1 END) AS open,"
        " count(payload) AS payloads"
        " FROM chunks WHERE job_id = :job"
    )
    by_version = text(
        "SELECT model_version, sum(labeled) AS labeled FROM chunks"
        " WHERE job_id = :job AND labeled > 0 GROUP BY model_version ORDER BY model_version"
    )
    of_rows = text(
        "SELECT model_version, count(*) AS labeled FROM labeled_texts"
        " WHERE job_id = :job GROUP BY model_version ORDER BY model_version"
    )
    with store.read() as connection:
        said = connection.execute(query, {"job": job}).one()
        chunks = [tuple(row) for row in connection.execute(by_version, {"job": job})]
        written = [tuple(row) for row in connection.execute(of_rows, {"job": job})]
    told = tuple(int(value or 0) for value in said)
    found = []
    if told != (rows, labeled, rejected, 0, 0):
        found.append(
            f"the chunks say rows, labelled, rejected, open, payloads = {told}, "
            f"not {(rows, labeled, rejected, 0, 0)}"
        )
    if [(version, int(count)) for version, count in chunks] != written:
        found.append(f"by version the chunks say {chunks}, and the rows {written}")
    return found
