"""Entries of a stream, and tasks of other clients: each of them enters the ledger once.

What delivers them (a consumer group of Redis, a queue) may deliver them again. An entry is noted in
the transaction that enters its rows; the note outlives the acknowledgement, and no other producer
may remove it: else an entry that was delivered again, but not yet entered again, would come in twice.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, delete, or_, select, tuple_
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import db_now
from db.defaults import TASK_NOTES_A_SWEEP, TASK_NOTES_SECONDS
from db.schema import Job, StreamEntry
from db.store import Store

#: What stands for the source of every task that another client sends; their ids are unique.
TASKS = "task"


@dataclass(frozen=True, slots=True)
class EntryRow:
    """A text to label; it gets its row number when it enters a job."""

    text: str
    external_id: str | None = None
    extra: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class RefusedRow:
    """A row that cannot be labelled: where it stood, why, and how it looked, escaped."""

    source_file: str | None
    reason: str
    raw: str | None


@dataclass(frozen=True, slots=True)
class Entry:
    """What is delivered, entered and acknowledged as one; `id` is unique in its source."""

    id: str
    rows: Sequence[EntryRow | RefusedRow]


@dataclass(frozen=True, slots=True)
class Entered:
    """What became of some entries: those that were known already are not counted."""

    #: The chunk that is to be sent; None if no row is to be labelled.
    number: int | None
    #: Rows that were entered, refused ones among them.
    rows: int


def note_new(connection: Connection, source: str, entries: Sequence[Entry]) -> list[Entry]:
    """Note `entries` of `source`; return those that were not noted before, each once, in order."""
    by_id = {entry.id: entry for entry in entries}
    insert = postgresql.insert if connection.dialect.name == "postgresql" else sqlite.insert
    # Sorted, so that two transactions which meet wait in one order.
    values = [{"source_identity": source, "entry_id": name} for name in sorted(by_id)]
    if not values:
        return []
    statement = insert(StreamEntry).on_conflict_do_nothing().returning(StreamEntry.entry_id)
    new = set(connection.scalars(statement, values))
    return [entry for name, entry in by_id.items() if name in new]


def forget(connection: Connection, source: str, ids: Sequence[str]) -> None:
    """Remove the notes of entries that will not be delivered again."""
    statement = delete(StreamEntry).where(StreamEntry.source_identity == source)
    for first in range(0, len(ids), _IDS_AT_ONCE):
        some = ids[first : first + _IDS_AT_ONCE]
        connection.execute(statement.where(StreamEntry.entry_id.in_(some)))


def forget_before(connection: Connection, source: str, seconds: float) -> None:
    """Remove the notes of `source` that are older than `seconds`."""
    connection.execute(
        delete(StreamEntry).where(
            StreamEntry.source_identity == source, StreamEntry.entered_at < db_now(-seconds)
        )
    )


def ended_productions(store: Store, jobs: Sequence[int]) -> set[int]:
    """Return those of `jobs` into which nobody enters anything any more, now or ever.

    Only what their producers held may be given to others.
    """
    over = or_(Job.state != "running", Job.source_exhausted.is_(True))
    ended: set[int] = set()
    for first in range(0, len(jobs), _IDS_AT_ONCE):
        some = jobs[first : first + _IDS_AT_ONCE]
        with store.read() as connection:
            ended.update(connection.scalars(select(Job.id).where(Job.id.in_(some), over)))
    return ended


def shared_identity(store: Store, jobs: Sequence[int]) -> str | None:
    """Return the source identity of the first of `jobs` that there is, None if there is none."""
    query = select(Job.source_identity).where(Job.id.in_(jobs)).order_by(Job.id).limit(1)
    with store.read() as connection:
        return connection.scalar(query)


def forget_old_tasks(store: Store) -> int:
    """Remove notes of tasks that no queue will deliver again; a bounded number at once."""
    key = (StreamEntry.source_identity, StreamEntry.entry_id)
    old = (
        select(*key)
        .where(
            StreamEntry.entered_at < db_now(-TASK_NOTES_SECONDS),
            StreamEntry.source_identity == TASKS,
        )
        .order_by(StreamEntry.entered_at)
        .limit(TASK_NOTES_A_SWEEP)
    )
    with store.write() as connection:
        return connection.execute(delete(StreamEntry).where(tuple_(*key).in_(old))).rowcount


#: Ids that one statement names; SQLite takes 32,766 parameters.
_IDS_AT_ONCE = 10_000
