"""The database and the broker of one call: those of the settings, or our own."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kombu.exceptions import OperationalError
from redis.exceptions import RedisError
from sqlalchemy.exc import DBAPIError

from db.defaults import FIRST_START_SECONDS, QUEUE, START_TIMEOUT_SECONDS
from db.errors import ServiceUnavailable, UsageError, hide_password
from db.ledger.jobs import ledger_id
from db.ledger.workers import living_workers
from db.migrate import check_revision, upgrade
from db.settings import Settings, check_addresses
from db.store import Store, error_kind, open_store
from worker.celery import make_app
from worker.embedded import Embedded
from worker.outbox import CeleryOutbox, broker_error
from worker.preparing import prepare


@dataclass(frozen=True)
class Services:
    """What a job needs from outside; reached, and of the right version."""

    store: Store
    outbox: CeleryOutbox
    #: The broker's URL as people may see it.
    broker: str
    #: Seconds for which either is tried again when it is lost.
    patience: float
    #: Where the embedded worker writes; None where workers are others' to start.
    worker_log: Path | None = None


@contextmanager
def open_services(
    settings: Settings, *, queue: str, say: Callable[[str], None]
) -> Iterator[Services]:
    """Reach the database and the broker, or start our own; leave them at the end.

    Raises `ServiceUnavailable` within 30 s if one cannot be reached, and `UsageError` for
    settings that do not fit together.
    """
    check_addresses(settings)
    store = open_store(settings)
    try:
        if settings.embedded:
            if queue != QUEUE:
                raise UsageError(
                    f"the embedded worker serves the queue {QUEUE} alone; leave --queue out, "
                    "or set LABELSTREAM_BROKER_URL and start a worker with -Q"
                )
            with Embedded.join(settings, prepare=lambda: prepare(store, settings)) as embedded:
                say(f"embedded mode: results go to {store.name}")
                app = make_app(embedded.broker_url, settings)
                outbox = CeleryOutbox(app, ledger_id(store))
                if not living_workers(store, queue):
                    say("the worker loads its model; the first time that takes a little longer")
                embedded.wait_until_ready(FIRST_START_SECONDS, lambda: living_workers(store, queue))
                yield Services(
                    store, outbox, embedded.broker_url, settings.patience, embedded.worker_log
                )
            return
        store.check()
        if settings.database_url is None:
            upgrade(store)
        check_revision(store)
        app = make_app(settings.broker_url, settings)
        outbox = CeleryOutbox(app, ledger_id(store))
        broker = hide_password(str(settings.broker_url))
        _check_broker(outbox, broker)
        yield Services(store, outbox, broker, settings.patience)
    except DBAPIError as error:
        raise ServiceUnavailable(
            f"database {store.name} failed ({error_kind(error)}); see that it runs, may be written "
            "and has room; the job, if one began, goes on with the same command"
        ) from None
    finally:
        store.close()


def _check_broker(outbox: CeleryOutbox, broker: str) -> None:
    deadline = time.monotonic() + START_TIMEOUT_SECONDS
    while True:
        try:
            outbox.check()
            return
        except (OperationalError, RedisError, OSError) as error:
            if time.monotonic() > deadline or "uthentication" in str(error):
                raise ServiceUnavailable(
                    f"broker {broker} cannot be used: {broker_error(error)}; "
                    "check LABELSTREAM_BROKER_URL, and that Redis runs and takes messages"
                ) from None
        time.sleep(0.5)
