"""The Celery app: `celery -A worker worker` needs no further options."""

from typing import Any

from celery import Celery
from celery.signals import setup_logging, worker_init

from db.defaults import QUEUE
from db.settings import Settings, get_settings
from worker import redis_transport
from worker.embedded import running_broker

#: Seconds for a connection to Redis to be made, and for each answer. kombu waits at Redis for a
#: message for a second at a time, and does that without holding anybody up, so this is only for
#: answers that Redis owes at once: one that is frozen gives none.
_ANSWER_SECONDS = 5

#: Seconds after which kombu looks whether the connection on which it waits for messages still
#: lives: one that is dead without a word is noticed within twice that.
_HEALTH_SECONDS = 10

#: Seconds after which Redis hands an unacknowledged message to another worker. Long on purpose:
#: the ledger is the only authority for retries, and it is much faster.
_VISIBILITY_TIMEOUT_SECONDS = 3600


def make_app(broker_url: str | None, settings: Settings) -> Celery:
    """Return the app on `broker_url`; the one place where Celery is configured."""
    redis_transport.use()
    app = Celery(
        "labelstream",
        broker=broker_url,
        include=["worker.task"],
        events="worker.events:Events",
        # By name: a producer that sends messages needs none of it.
        task_cls="worker.quiet_requests:QuietTask",
    )
    app.conf.update(
        # Threads around the engine's own: CUDA cannot be used after a fork, and the model is
        # loaded once a process.
        worker_pool="threads",
        worker_concurrency=settings.concurrency,
        worker_prefetch_multiplier=1,
        # A message is acknowledged when its chunk is closed, handed back or not to be had.
        task_acks_late=True,
        task_default_queue=QUEUE,
        task_ignore_result=True,
        result_backend=None,
        # JSON alone: a message can never run code.
        task_serializer="json",
        accept_content=["json"],
        broker_transport_options={
            "visibility_timeout": _VISIBILITY_TIMEOUT_SECONDS,
            "socket_connect_timeout": _ANSWER_SECONDS,
            "socket_timeout": _ANSWER_SECONDS,
            "socket_keepalive": True,
            "health_check_interval": _HEALTH_SECONDS,
            # Who sends is told at once that Redis is away, and tries again by the ledger's rules.
            # The worker's own connection is tried for ever all the same.
            "max_retries": 0,
        },
        worker_consumer="worker.consumer:PatientConsumer",
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        # Flower and other monitors see the tasks: names and numbers, never text. That a message was
        # sent stands in the ledger; an event of it would be a second message.
        worker_send_task_events=True,
    )
    return app


def _worker_app() -> Celery:
    settings = get_settings()
    return make_app(settings.broker_url or running_broker(settings), settings)


app = _worker_app()


@setup_logging.connect
def _set_up_logging(**_: Any) -> None:
    from worker.logs import set_up_logging

    set_up_logging(get_settings())


@worker_init.connect
def _begin(sender: Any, **_: Any) -> None:
    # Imported here: a producer that sends messages needs none of it.
    from worker.lifecycle import begin

    begin(sender)
