"""What a producer does to its job: every step begins by proving that the job is still its own."""

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, Executable, bindparam, func, insert, or_, select, update

from db.clock import db_now
from db.defaults import LEASE_SECONDS
from db.errors import JobFailed, ServiceUnavailable
from db.ledger.claiming import is_in_state
from db.ledger.ending import OPEN_STATES
from db.ledger.entries import Entered, Entry, EntryRow, forget, forget_before, note_new
from db.ledger.jobs import Production
from db.ledger.payload import ChunkRows, pack
from db.schema import Chunk, Job, Reject, table_of
from db.store import Store

Result = TypeVar("Result")

#: So many sent messages are recorded with the next chunk, or fewer of them after so many seconds; and by
#: themselves where chunks come so rarely that the next one would be late.
_UNMARKED = 8
_UNMARKED_SECONDS = 0.25
_LATEST_SECONDS = 0.5

#: Seconds for which letting go of a job is tried.
_RELEASE_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class NewReject:
    """A row that the parser rejected."""

    row_number: int
    source_file: str | None
    line: int | None
    reason: str
    raw: str | None


_JOBS = table_of(Job)
_CHUNKS = table_of(Chunk)

#: The fence of a producer: no row, if the job is no longer its own.
_RENEW = (
    update(_JOBS)
    .where(
        _JOBS.c.id == bindparam("of_job"),
        _JOBS.c.producer_token == bindparam("of_token"),
        _JOBS.c.state == "running",
    )
    .values(producer_lease_until=db_now(LEASE_SECONDS))
    .returning(_JOBS.c.next_chunk)
)
_ADVANCE = _RENEW.values(
    position=bindparam("new_position", type_=_JOBS.c.position.type),
    next_chunk=_JOBS.c.next_chunk + 1,
)
_FREE = _CHUNKS.alias()
#: Not of a chunk that a worker is closing just now: it would be waited for, with the job locked.
#: A number that is compared is asked for first, by the key; one out of a set would be looked for in all
#: chunks of the job.
_SENT = (
    update(_CHUNKS)
    .where(
        _CHUNKS.c.job_id == bindparam("of_job"),
        _CHUNKS.c.number
        == select(_FREE.c.number)
        .where(_FREE.c.job_id == bindparam("of_job"), _FREE.c.number == bindparam("of_number"))
        .with_for_update(key_share=True, skip_locked=True)
        .scalar_subquery(),
        # One that was handed back, or freed from a dead worker, is to be sent again.
        or_(_CHUNKS.c.claims == 0, ~is_in_state("queued")),
    )
    .values(sent_at=db_now())
)
#: A chunk whose message is to be sent, one whose message was, and one that is done already.
_CHUNK_TO_SEND = insert(_CHUNKS).values(
    {column: bindparam(column) for column in ("job_id", "number", "row_count", "rejected_parsed")}
    | {column: bindparam(column) for column in ("state", "queue", "payload")}
)
_CHUNK_SENT = _CHUNK_TO_SEND.values(sent_at=db_now())
_CHUNK_DONE = _CHUNK_TO_SEND.values(done_at=db_now())


class JobLost(JobFailed):
    """The job was cancelled, or another producer has it: this one must stop."""


class JobWriter:
    """Adds chunks to one job, under the token that `production` holds.

    Every method tries again while the database is away, unless `give_up` is set, and tells
    `on_trouble` once, in one line; each raises `JobLost` when the job is no longer ours.
    """

    def __init__(
        self,
        store: Store,
        production: Production,
        queue: str,
        on_trouble: Callable[[str], None] | None = None,
        give_up: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._queue = queue
        self._on_trouble = on_trouble
        self._give_up = give_up
        self.job = production.job
        self._token = production.token
        #: Chunks whose message was sent, which does not stand in the ledger yet; and how many of them
        #: the transaction that is tried now records.
        self._sent: list[int] = []
        self._marking = 0
        self._marked_at = time.monotonic()

    def add_chunk(
        self, rows: ChunkRows, rejects: Sequence[NewReject], position: Mapping[str, Any]
    ) -> int | None:
        """Commit one chunk: its rows, the parser's rejects among them, and the new position.

        Returns the number of a chunk that is to be sent, None for one of rejects alone, which is
        done already.
        """
        payload = pack(rows) if len(rows) else None
        tries = 0

        def add() -> int:
            nonlocal tries
            tries += 1
            with self._store.write() as connection:
                if tries > 1 and (number := self._already_added(connection, position)):
                    return number
                return self._add(connection, payload, len(rows), rejects, position)

        number = self._retrying(add)
        self._marked()
        return number if payload else None

    def add_entries(self, source: str, entries: Sequence[Entry], *, sent: bool = False) -> Entered:
        """Commit one chunk of those `entries` of `source` that the ledger does not have yet.

        Only they get row numbers; of nothing new no chunk is made. With `sent` the chunk counts as
        one whose message was sent. If the answer to a commit is lost, its entries are found to be
        known: the sweeper sends that chunk's message.
        """

        def add() -> Entered:
            self._marking = 0
            with self._store.write() as connection:
                self._step(connection)
                new = note_new(connection, source, entries)
                if not new:
                    return Entered(None, 0)
                position = connection.scalar(select(Job.position).where(Job.id == self.job)) or {}
                last = int(position.get("row", 0))
                rows, rejects = _numbered(new, last)
                payload = pack(rows) if len(rows) else None
                count = len(rows) + len(rejects)
                number = self._add(
                    connection,
                    payload,
                    len(rows),
                    rejects,
                    {**position, "row": last + count},
                    sent=sent,
                )
                return Entered(number if payload else None, count)

        entered = self._retrying(add)
        self._marked()
        return entered

    def forget_entries(self, source: str, ids: Sequence[str]) -> None:
        """Remove the notes of entries which their source will not deliver again.

        Raises `JobLost` when this producer may have been replaced: another one may then have been
        given the same entries, and must find them noted.
        """
        self._fenced(lambda connection: forget(connection, source, ids))

    def forget_entries_before(self, source: str, seconds: float) -> None:
        """Remove the notes of entries that are older than `seconds`: their source begins anew."""
        self._fenced(lambda connection: forget_before(connection, source, seconds))

    def note_sent(self, number: int) -> None:
        """Remember that the message of a chunk was sent; a chunk that is added later records it.

        It does so once several wait, and `mark_sent` does where no chunk follows soon. Until then
        the sweeper may send the message once more, which does no harm.
        """
        self._sent.append(number)
        if self._unmarked_for() > _LATEST_SECONDS:
            self.mark_sent()

    def mark_sent(self) -> None:
        """Record the messages that were sent; needs no fence, for it only delays."""
        if not self._sent:
            return

        def mark() -> None:
            with self._store.write() as connection:
                self._mark_sent(connection)

        self._retrying(mark)
        self._marked()

    def renew(self) -> None:
        """Hold the job for another lease."""
        self._set()

    def exhaust(self, error: str | None = None) -> None:
        """Record that the source has nothing more, and why, if it broke off."""
        self._set(source_exhausted=True, source_error=error)

    def fail(self, reason: str) -> None:
        """Fail the job at once; what is leased may still land."""
        self._set(state="failed", error=reason, source_exhausted=True, finished_at=db_now())

    def release(self) -> None:
        """Let go of the job, so that another producer need not wait for the lease to run out.

        Tries for a moment only: a lease that is not let go runs out.
        """

        def let_go() -> None:
            with self._store.write() as connection:
                connection.execute(
                    update(Job)
                    .where(Job.id == self.job, Job.producer_token == self._token)
                    .values(producer_token=None, producer_lease_until=None)
                )

        with suppress(ServiceUnavailable):
            self._store.retrying(let_go, seconds=_RELEASE_SECONDS)

    def open_chunks(self) -> int:
        """Return how many chunks of the job are queued or leased."""
        query = select(func.count()).where(Chunk.job_id == self.job, Chunk.state.in_(OPEN_STATES))

        def count() -> int:
            with self._store.read() as connection:
                return connection.execute(query).scalar_one()

        return self._retrying(count)

    def _add(
        self,
        connection: Connection,
        payload: bytes | None,
        labelable: int,
        rejects: Sequence[NewReject],
        position: Mapping[str, Any],
        *,
        sent: bool = False,
    ) -> int:
        number = self._step(connection, _ADVANCE, new_position=dict(position)) - 1
        self._marking = 0
        if len(self._sent) >= _UNMARKED or self._unmarked_for() > _UNMARKED_SECONDS:
            self._mark_sent(connection)
        statement = _CHUNK_SENT if sent else _CHUNK_TO_SEND
        connection.execute(
            statement if payload else _CHUNK_DONE,
            {
                "job_id": self.job,
                "number": number,
                "row_count": labelable + len(rejects),
                "rejected_parsed": len(rejects),
                "state": "queued" if payload else "done",
                "queue": self._queue,
                "payload": payload,
            },
        )
        if rejects:
            values = [{"job_id": self.job, **asdict(reject)} for reject in rejects]
            connection.execute(insert(Reject), values)
        return number

    def _already_added(self, connection: Connection, position: Mapping[str, Any]) -> int | None:
        """Return the number of our last chunk if its commit came through before the connection broke.

        The position is written with the chunk, and no two chunks end at the same position.
        """
        self._step(connection)
        if connection.scalar(select(Job.position).where(Job.id == self.job)) != dict(position):
            return None
        return connection.scalar(
            select(func.max(Chunk.number)).where(
                Chunk.job_id == self.job, Chunk.parent_number.is_(None)
            )
        )

    def _unmarked_for(self) -> float:
        return time.monotonic() - self._marked_at

    def _mark_sent(self, connection: Connection) -> None:
        if not self._sent:
            return
        rows = [{"of_job": self.job, "of_number": number} for number in self._sent]
        connection.execute(_SENT, rows)
        self._marking = len(rows)

    def _marked(self) -> None:
        if self._marking:
            del self._sent[: self._marking]
            self._marking = 0
            self._marked_at = time.monotonic()

    def _set(self, **values: Any) -> None:
        tries = 0

        def step() -> None:
            nonlocal tries
            tries += 1
            with self._store.write() as connection:
                if tries > 1 and self._has_ended(connection):
                    # The commit came through before the connection broke, and it was the last.
                    return
                self._step(connection, _RENEW.values(**values))

        self._retrying(step)

    def _fenced(self, work: Callable[[Connection], None]) -> None:
        def fenced() -> None:
            with self._store.write() as connection:
                self._step(connection)
                work(connection)

        self._retrying(fenced)

    def _has_ended(self, connection: Connection) -> bool:
        state = connection.scalar(select(Job.state).where(Job.id == self.job))
        return state in ("done", "failed")

    def _retrying(self, transaction: Callable[[], Result]) -> Result:
        return self._store.retrying(transaction, on_trouble=self._on_trouble, give_up=self._give_up)

    def _step(
        self, connection: Connection, statement: Executable = _RENEW, **parameters: Any
    ) -> int:
        """Renew the lease by `statement` if the token still holds; return `next_chunk`."""
        fenced = {"of_job": self.job, "of_token": self._token, **parameters}
        next_chunk = connection.scalar(statement, fenced)
        if next_chunk is None:
            query = select(Job.state, Job.producer_token).where(Job.id == self.job)
            job = connection.execute(query).one()
            why = "another producer has it"
            if job.state != "running":
                why = f"it is {job.state}"
            elif job.producer_token is None:
                why = "its producer gave no sign for too long, so it is being ended"
            raise JobLost(f"job {self.job} is no longer ours: {why}; nothing was lost")
        return int(next_chunk)


def _numbered(entries: Sequence[Entry], last: int) -> tuple[ChunkRows, list[NewReject]]:
    """Give the rows of `entries` the numbers after `last`."""
    rows = ChunkRows([], [], [], [])
    rejects: list[NewReject] = []
    assert rows.extra is not None  # noqa: S101
    for number, row in enumerate((row for entry in entries for row in entry.rows), last + 1):
        if isinstance(row, EntryRow):
            rows.row_numbers.append(number)
            rows.texts.append(row.text)
            rows.external_ids.append(row.external_id)
            rows.extra.append(row.extra)
        else:
            rejects.append(NewReject(number, row.source_file, None, row.reason, row.raw))
    return rows, rejects
