"""The labelled rows of a job as they are exported: which columns, and page after page."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, Text, cast, exists, func, literal_column, select, true

from db.ledger.jobs import JobRecord
from db.schema import LabeledText, ModelVersion
from db.store import Store

#: Rows of a page, at most.
PAGE_ROWS = 10_000

#: Characters of text and kept columns in a page, at most (but one row is always taken): with
#: rows of up to 16 MB, a page of rows alone would not bound memory.
PAGE_CHARACTERS = 16_000_000

#: Our own columns, in order; `labels` follows them for a multi-label model.
COLUMNS = (
    "row_number",
    "external_id",
    "text",
    "label",
    "confidence",
    "unsure",
    "truncated",
    "model",
    "model_version",
    "engine",
    "labeled_at",
    "scores",
)


@dataclass(frozen=True)
class ExportColumns:
    """The columns of an export."""

    ours: tuple[str, ...]
    #: The kept columns by their own names.
    kept: tuple[str, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The header: ours, then the kept ones, `extra_` before a name that is taken."""
        names = list(self.ours)
        for name in self.kept:
            while name in names:
                name = f"extra_{name}"
            names.append(name)
        return tuple(names)


def export_columns(store: Store, job: JobRecord) -> ExportColumns:
    """Return the columns that the rows of `job` have; looks at all of its rows once."""
    multi_label = select(
        exists().where(ModelVersion.model == job.model, ModelVersion.multi_label.is_(True))
    )
    with store.read() as connection:
        ours = (*COLUMNS, "labels") if connection.scalar(multi_label) else COLUMNS
        found = {str(name) for name in connection.scalars(_kept_names(store.dialect, job.id))}
    # JSONB forgets the order of the columns; the job's options remember it.
    asked = [name for name in _asked_columns(job) if name in found]
    return ExportColumns(ours, (*asked, *sorted(found.difference(asked))))


def pages(
    store: Store,
    job_id: int,
    columns: ExportColumns,
    *,
    page_rows: int = PAGE_ROWS,
    page_characters: int = PAGE_CHARACTERS,
) -> Iterator[list[tuple[Any, ...]]]:
    """Yield the rows of a job in row order, as tuples in the order of `columns.names`.

    Each page is a short transaction of its own, so that a long export holds up nobody; of a job
    that still runs, rows that land behind the page are left out.
    """
    table = LabeledText.__table__
    query = select(*(table.c[name] for name in columns.ours), table.c.extra)
    query = query.where(table.c.job_id == job_id).order_by(table.c.row_number)
    last = 0
    while True:
        with store.read() as connection:
            sizes = connection.execute(_sizes(job_id, last, page_rows)).all()
            if not sizes:
                return
            first, last = last, _page_end(sizes, page_characters)
            rows = connection.execute(
                query.where(table.c.row_number > first, table.c.row_number <= last)
            ).all()
        yield [_flat(row, columns) for row in rows]


def _flat(row: Sequence[Any], columns: ExportColumns) -> tuple[Any, ...]:
    *ours, extra = row
    if not columns.kept:
        return tuple(ours)
    extra = extra or {}
    return (*ours, *(extra.get(name) for name in columns.kept))


def _sizes(job_id: int, after: int, rows: int) -> Select[tuple[int, int]]:
    characters = func.coalesce(func.length(LabeledText.text), 0) + func.coalesce(
        func.length(cast(LabeledText.extra, Text)), 0
    )
    return (
        select(LabeledText.row_number, characters)
        .where(LabeledText.job_id == job_id, LabeledText.row_number > after)
        .order_by(LabeledText.row_number)
        .limit(rows)
    )


def _page_end(sizes: Sequence[Any], page_characters: int) -> int:
    end = int(sizes[0][0])
    total = 0
    for row_number, characters in sizes:
        total += characters
        if total > page_characters and row_number != sizes[0][0]:
            break
        end = int(row_number)
    return end


def _kept_names(dialect: str, job_id: int) -> Select[tuple[Any]]:
    if dialect == "postgresql":
        names = func.jsonb_object_keys(LabeledText.extra)
        return select(names).where(LabeledText.job_id == job_id).distinct()
    each = func.json_each(LabeledText.extra).table_valued("key", name="kept")
    return (
        select(literal_column("kept.key"))
        .select_from(LabeledText.__table__.join(each, true()))
        .where(LabeledText.job_id == job_id)
        .distinct()
    )


def _asked_columns(job: JobRecord) -> list[str]:
    asked = job.options.get("keep_columns")
    return [str(name) for name in asked] if isinstance(asked, list) else []
