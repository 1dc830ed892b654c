"""The final count: what differs between a source and what became of its rows."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Row, text

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
    jobs: Sequence[int],
    source: Sequence[SourceRow],
    judge: Judge,
    versions: Collection[int],
    *,
    in_order: bool,
) -> list[str]:
    """Return in words what is wrong with jobs that should be done; nothing if all is right.

    Every row of `source` is in exactly one place, with its own text, a label that `judge` finds
    right, and a version among `versions`; the sums of the chunks say the same. `in_order`: the rows
    are numbered as they stand in the source, which is one job's.
    """
    where = f"job_id IN ({', '.join(map(str, jobs))})"
    with store.read() as connection:
        states = connection.execute(
            text(f"SELECT id, state FROM jobs WHERE {where.replace('job_id', 'id')}")
        ).all()
        labeled = connection.execute(
            text(
                "SELECT job_id, row_number, external_id, text, label, model_version"
                f" FROM labeled_texts WHERE {where}"
            )
        ).all()
        rejected = connection.execute(
            text(f"SELECT job_id, row_number FROM rejects WHERE {where}")
        ).all()
    found = [f"job {row.id} is {row.state}" for row in states if row.state != "done"]
    wanted = {row.id: row for row in source if row.text}
    ids = Counter(row.external_id for row in labeled)
    known = [row for row in labeled if row.external_id in wanted]
    found += _named("missing", wanted.keys() - ids.keys())
    found += _named("there twice", [name for name, count in ids.items() if count > 1])
    found += _named("that nobody sent", ids.keys() - wanted.keys())
    found += _named(
        "with another's text", _wrong(known, lambda row: row.text == wanted[row.external_id].text)
    )
    found += _named("labelled wrongly", _wrong(known, lambda row: judge(row.text, row.label)))
    found += _named(
        f"of a version not among {sorted(versions)}",
        _wrong(known, lambda row: row.model_version in versions),
    )
    places = {(row.job_id, row.row_number) for row in labeled}
    found += _named("in two places", places & {tuple(row) for row in rejected})
    if len(rejected) != len(source) - len(wanted):
        found.append(f"{len(rejected)} rows rejected, not {len(source) - len(wanted)}")
    if in_order:
        found += _wrong_numbers(source, known, [row.row_number for row in rejected])
    return found + _wrong_sums(store, where, len(source), len(labeled), len(rejected))


def _wrong(rows: Iterable[Row[Any]], right: Callable[[Row[Any]], bool]) -> list[str]:
    return [row.external_id for row in rows if not right(row)]


def _named(what: str, rows: Iterable[object]) -> list[str]:
    some = list(rows)
    return [f"{len(some)} rows {what}, such as {some[0]}"] if some else []


def _wrong_numbers(
    source: Sequence[SourceRow], labeled: Iterable[Row[Any]], rejected: Iterable[int]
) -> list[str]:
    numbers = {row.id: number for number, row in enumerate(source, 1)}
    blank = {number for number, row in enumerate(source, 1) if not row.text}
    found = _named(
        "with another's number",
        _wrong(labeled, lambda row: row.row_number == numbers[row.external_id]),
    )
    return found + _named("rejected in another's place", blank ^ set(rejected))


def _wrong_sums(store: Store, where: str, rows: int, labeled: int, rejected: int) -> list[str]:
    query = text(
        "SELECT sum(CASE WHEN parent_number IS NULL THEN row_count ELSE 0 END) AS rows,"
        " sum(labeled) AS labeled, sum(rejected_parsed + rejected_worker) AS rejected,"
        " sum(CASE WHEN state IN ('done', 'split') THEN 0 ELSE 1 END) AS open,"
        f" count(payload) AS payloads FROM chunks WHERE {where}"
    )
    by_version = text(
        f"SELECT model_version, sum(labeled) AS labeled FROM chunks WHERE {where}"
        " AND labeled > 0 GROUP BY model_version ORDER BY model_version"
    )
    of_rows = text(
        f"SELECT model_version, count(*) AS labeled FROM labeled_texts WHERE {where}"
        " GROUP BY model_version ORDER BY model_version"
    )
    with store.read() as connection:
        said = connection.execute(query).one()
        chunks = [(row.model_version, int(row.labeled)) for row in connection.execute(by_version)]
        written = [tuple(row) for row in connection.execute(of_rows)]
    told = tuple(int(value or 0) for value in said)
    found = []
    if told != (rows, labeled, rejected, 0, 0):
        found.append(
            f"the chunks say rows, labelled, rejected, open, payloads = {told}, "
            f"not {(rows, labeled, rejected, 0, 0)}"
        )
    if chunks != written:
        found.append(f"by version the chunks say {chunks}, and the rows {written}")
    return found
