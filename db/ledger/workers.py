"""The workers that gave a sign of life."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects import postgresql, sqlite

from db.clock import db_now
from db.defaults import WORKER_GONE_SECONDS
from db.schema import Worker
from db.store import Store


@dataclass(frozen=True)
class WorkerRecord:
    """One worker process and what it serves."""

    name: str
    model_versions: Sequence[str]
    engine: str
    device: str
    queues: Sequence[str]


def record_worker(store: Store, worker: WorkerRecord) -> None:
    """Tell that `worker` is alive and ready."""
    upsert = postgresql.insert if store.dialect == "postgresql" else sqlite.insert
    values = {
        "model_versions": list(worker.model_versions),
        "engine": worker.engine,
        "device": worker.device,
        "queues": list(worker.queues),
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


def living_workers(store: Store, queue: str | None = None) -> list[WorkerRecord]:
    """Return the workers seen lately, those of `queue` if it is given."""
    query = (
        select(Worker.name, Worker.model_versions, Worker.engine, Worker.device, Worker.queues)
        .where(Worker.seen_at > db_now(-WORKER_GONE_SECONDS))
        .order_by(Worker.name)
    )
    with store.read() as connection:
        alive = [WorkerRecord(*row) for row in connection.execute(query)]
    return [worker for worker in alive if queue is None or queue in worker.queues]
