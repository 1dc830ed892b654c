"""The workers that gave a sign of life."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, exists, select
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import db_now
from db.defaults import WORKER_FORGOTTEN_SECONDS, WORKER_GONE_SECONDS
from db.processes import is_gone
from db.schema import Chunk, Worker
from db.store import Store


@dataclass(frozen=True)
class WorkerRecord:
    """One worker process and what it serves."""

    #: Never that of another one: chunks name their worker by it.
    name: str
    model_versions: Sequence[str]
    engine: str
    device: str
    queues: Sequence[str]
    #: Which process it is (`db.processes.own_name`), so that its machine sees when it is gone.
    process: str | None = None


def record_worker(store: Store, worker: WorkerRecord) -> None:
    """Tell who `worker` is, and that it is alive and ready."""
    upsert = postgresql.insert if store.dialect == "postgresql" else sqlite.insert
    values = {
        "model_versions": list(worker.model_versions),
        "engine": worker.engine,
        "device": worker.device,
        "queues": list(worker.queues),
        "process": worker.process,
    }
    statement = upsert(Worker).values(name=worker.name, **values)
    with store.write() as connection:
        connection.execute(
            statement.on_conflict_do_update(
                index_elements=["name"], set_={**values, "seen_at": db_now()}
            )
        )


def forget_worker(store: Store, name: str) -> None:
    """Remove a worker that leaves."""
    with store.write() as connection:
        connection.execute(delete(Worker).where(Worker.name == name))


def gone_workers(store: Store) -> list[str]:
    """Return the names of the workers whose process, of this machine, is certain to be gone."""
    query = select(Worker.name, Worker.process).where(Worker.process.is_not(None))
    with store.read() as connection:
        told = connection.execute(query).all()
    return [worker.name for worker in told if is_gone(worker.process)]


def forget_gone(store: Store, names: Sequence[str]) -> None:
    """Remove workers that are gone, but for those that still seem to hold a chunk."""
    holds = exists().where(Chunk.state == "leased", Chunk.worker == Worker.name)
    with store.write() as connection:
        connection.execute(delete(Worker).where(Worker.name.in_(names), ~holds))


def forget_unseen(store: Store) -> None:
    """Remove workers that were not seen for so long that nobody will ever tell what they did."""
    with store.write() as connection:
        connection.execute(delete(Worker).where(Worker.seen_at < db_now(-WORKER_FORGOTTEN_SECONDS)))


def living_workers(store: Store, queue: str | None = None) -> list[WorkerRecord]:
    """Return the workers seen lately, those of `queue` if it is given."""
    query = (
        select(
            Worker.name,
            Worker.model_versions,
            Worker.engine,
            Worker.device,
            Worker.queues,
            Worker.process,
        )
        .where(Worker.seen_at > db_now(-WORKER_GONE_SECONDS))
        .order_by(Worker.name)
    )
    with store.read() as connection:
        alive = [WorkerRecord(*row) for row in connection.execute(query)]
    return [worker for worker in alive if queue is None or queue in worker.queues]
