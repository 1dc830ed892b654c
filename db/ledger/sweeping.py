"""The sweeper: what nobody holds any more is queued again, what nobody heard of is sent again."""

import logging
import threading
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from sqlalchemy import and_, exists, false, func, or_, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import DBAPIError

from db.clock import db_now
from db.defaults import LEASE_SECONDS, RESEND_AFTER_SECONDS, RESENDS_A_SWEEP, SWEEP_SECONDS
from db.failures import is_contention
from db.ledger.claiming import is_in_state
from db.ledger.ending import OPEN_STATES, end_if_complete
from db.ledger.entries import forget_old_tasks
from db.ledger.expiring import expire_gone, expire_run_out
from db.ledger.orphans import end_orphans
from db.ledger.workers import forget_unseen
from db.processes import is_gone
from db.schema import Chunk, Job, Lease
from db.store import Store, error_kind, may_pass

log = logging.getLogger(__name__)

#: The duty's name in `leases`; its holder keeps it a little longer than one round takes.
_DUTY = "sweeper"
_DUTY_SECONDS = 3 * SWEEP_SECONDS


@dataclass(frozen=True, slots=True)
class ChunkId:
    """Which chunk a message names."""

    job: int
    number: int
    queue: str


class Outbox(Protocol):
    """Where messages go; its errors mean that the message was perhaps not sent."""

    def send(self, chunk: ChunkId) -> None:
        """Send the message that names `chunk`."""

    def is_empty(self, queue: str) -> bool:
        """Whether no message waits in `queue`."""


@dataclass(frozen=True)
class Sweep:
    """What one sweep did."""

    expired: int = 0
    resent: int = 0
    ended: int = 0


class Sweeper:
    """Sweeps the ledger when its turn comes; one process at a time holds the duty.

    `holder` names this one, as `db.processes.own_name` does: its duty is free when it is gone.
    """

    def __init__(
        self,
        store: Store,
        outbox: Outbox,
        holder: str,
        *,
        resend_after: float = RESEND_AFTER_SECONDS,
    ) -> None:
        self._store = store
        self._outbox = outbox
        self._holder = holder
        self._resend_after = resend_after
        self._was_away = False
        self._patient_until = float("-inf")

    def sweep(self) -> Sweep | None:
        """Do everything that is due; None if another process has the duty.

        Whoever has it, each looks for workers and producers of its own machine whose process is
        gone: nobody else can see them.
        """
        try:
            return self._sweep()
        except DBAPIError as error:
            self._was_away = self._was_away or (may_pass(error) and not is_contention(error))
            raise

    def _sweep(self) -> Sweep | None:
        gone = expire_gone(self._store)
        could_renew = self._could_renew()
        if could_renew:
            end_orphans(self._store)
        if not self._take_duty():
            if gone:
                # Whoever has the duty sends their messages too, but perhaps seconds later; one too
                # many does no harm.
                self._resend()
            return None
        expired = gone + (expire_run_out(self._store) if could_renew else 0)
        forget_unseen(self._store)
        forget_old_tasks(self._store)
        ended = self._end_jobs()
        resent = self._resend()
        return Sweep(expired, resent, ended)

    def _could_renew(self) -> bool:
        """Whether those who hold chunks and jobs have had the time to renew their leases.

        While the database was away nobody could, and a lease that ran out then is no sign of a
        death: what was computed meanwhile is to be written, and no row is to be charged for it.
        """
        now = time.monotonic()
        if self._was_away:
            self._was_away = False
            self._patient_until = now + LEASE_SECONDS
        return now >= self._patient_until

    def leave(self) -> None:
        """Give the duty up, so that another process need not wait for it."""
        with self._store.write() as connection:
            connection.execute(
                update(Lease)
                .where(Lease.name == _DUTY, Lease.holder == self._holder)
                .values(until=db_now())
            )

    def _take_duty(self) -> bool:
        with self._store.read() as connection:
            on_duty = connection.scalar(select(Lease.holder).where(Lease.name == _DUTY))
        gone = on_duty if on_duty is not None and is_gone(on_duty) else None
        upsert = postgresql.insert if self._store.dialect == "postgresql" else sqlite.insert
        statement = upsert(Lease).values(
            name=_DUTY, holder=self._holder, until=db_now(_DUTY_SECONDS)
        )
        with self._store.write() as connection:
            holder = connection.scalar(
                statement.on_conflict_do_update(
                    index_elements=["name"],
                    set_={"holder": self._holder, "until": db_now(_DUTY_SECONDS)},
                    where=or_(
                        Lease.holder == self._holder,
                        Lease.until < db_now(),
                        Lease.holder == gone if gone is not None else false(),
                    ),
                ).returning(Lease.holder)
            )
        return holder == self._holder

    def _end_jobs(self) -> int:
        complete = select(Job.id).where(
            Job.state == "running",
            Job.source_exhausted.is_(True),
            ~exists().where(Chunk.job_id == Job.id, Chunk.state.in_(OPEN_STATES)),
        )
        with self._store.read() as connection:
            jobs = connection.scalars(complete).all()
        return sum(end_if_complete(self._store, job) != "running" for job in jobs)

    def _resend(self) -> int:
        resent = 0
        for chunk in self._unheard():
            self._outbox.send(chunk)
            with self._store.write() as connection:
                connection.execute(
                    update(Chunk)
                    .where(
                        Chunk.job_id == chunk.job,
                        Chunk.number == chunk.number,
                        is_in_state("queued"),
                    )
                    .values(sent_at=db_now())
                )
            resent += 1
        if resent:
            log.info("sent %s messages again", resent)
        return resent

    def _unheard(self) -> Iterable[ChunkId]:
        """Return queued chunks whose message was never sent, or must be taken for lost.

        A message is taken for lost when it is old and its queue is empty, or when one that was
        sent so much later to the same queue has been claimed already: Redis keeps the order.
        """
        queued = and_(
            Chunk.state == "queued", exists().where(Job.id == Chunk.job_id, Job.state == "running")
        )
        old = Chunk.sent_at < db_now(-self._resend_after)
        with self._store.read() as connection:
            queues = connection.scalars(select(Chunk.queue).where(queued, old).distinct()).all()
        lost = []
        for queue in queues:
            if self._outbox.is_empty(queue):
                lost.append(and_(Chunk.queue == queue, old))
                continue
            with self._store.read() as connection:
                overtaken = connection.scalar(
                    select(func.max(Chunk.sent_at)).where(
                        Chunk.queue == queue, Chunk.claimed_at.is_not(None)
                    )
                )
            if overtaken is not None:
                before = overtaken - timedelta(seconds=self._resend_after)
                lost.append(and_(Chunk.queue == queue, old, Chunk.sent_at < before))
        query = (
            select(Chunk.job_id, Chunk.number, Chunk.queue)
            .where(queued, or_(Chunk.sent_at.is_(None), *lost))
            .order_by(Chunk.queued_at)
            .limit(RESENDS_A_SWEEP)
        )
        with self._store.read() as connection:
            return [ChunkId(*row) for row in connection.execute(query)]


class SweeperThread:
    """Sweeps every few seconds, busy or not, until it is stopped.

    `tells`: whether the first of several sweeps that fail is worth a line of the log. Where another
    part of the process tells of the same trouble, it is not.
    """

    def __init__(
        self, sweeper: Sweeper, *, every: float = SWEEP_SECONDS, tells: bool = True
    ) -> None:
        self._sweeper = sweeper
        self._every = every
        self._tells = tells
        self._failing = False
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Begin to sweep, at once."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the sweep that is under way, and give the duty up."""
        self._stop.set()
        # A worker may have to leave before it was ready to sweep.
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def sweep_ahead(self) -> None:
        """Sweep once before `start`, in the calling thread, and keep no duty until then."""
        self._sweep()
        self._leave()

    def _sweep(self) -> None:
        try:
            self._sweeper.sweep()
            self._failing = False
        except Exception as error:  # noqa: BLE001  (a sweep that fails must not be the last)
            kind = error_kind(error) if isinstance(error, DBAPIError) else type(error).__name__
            log.log(
                logging.WARNING if self._tells and not self._failing else logging.DEBUG,
                "sweep failed (%s); the next one will do its work",
                kind,
            )
            self._failing = True

    def _run(self) -> None:
        while True:
            self._sweep()
            if self._stop.wait(self._every):
                break
        self._leave()

    def _leave(self) -> None:
        try:
            self._sweeper.leave()
        except DBAPIError as error:
            log.debug("the sweeper's duty could not be given up: %s", error_kind(error))
