"""A nightly retrain through the gate, by Celery beat: with a queue and a worker of its own.

    cd examples/scheduling
    celery -A nightly_retrain worker --hostname retrain@%h      on the machine that is to train
    celery -A nightly_retrain beat                              exactly once, anywhere

The workers that label do not train: a fit would take their processors for hours, it
needs several times the memory of a model that serves, and one that runs out of it must take nobody
along. So `training retrain` runs in a process of its own, below a worker that does nothing else.
Running workers change over to what it promotes, within 2 s.
"""

import logging
import sys
import threading
from typing import Any

import nightly_commands as nightly
from celery import Celery
from celery.schedules import crontab
from celery.signals import setup_logging, worker_shutting_down

from db.settings import get_settings
from worker.logs import set_up_logging

log = logging.getLogger("nightly_retrain")

#: Seconds after which a retrain is told to leave: before the next night's begins.
LONGEST = 12 * 3600.0

#: Seconds after which a message that no worker took is void: a worker that comes back after a week
#: retrains once, not seven times.
VALID = 6 * 3600.0

#: Whether this worker was told to leave.
leaving = threading.Event()

settings = get_settings()
if not settings.broker_url:
    sys.exit("nightly_retrain: set LABELSTREAM_BROKER_URL to the Redis of the workers, redis://…")

app = Celery("nightly_retrain", broker=settings.broker_url)
app.conf.update(
    task_default_queue="labelstream-training",
    # One retrain at a time; the thread only waits for its process, and the worker answers meanwhile.
    worker_pool="threads",
    worker_concurrency=1,
    worker_prefetch_multiplier=1,
    # Acknowledged before it begins: a worker that dies in mid-retrain leaves it to the next night,
    # and no message is delivered twice because a retrain takes long.
    task_acks_late=False,
    task_ignore_result=True,
    task_serializer="json",
    accept_content=["json"],
    broker_connection_retry_on_startup=True,
    broker_connection_max_retries=None,
    # Keys of its own in that Redis: kombu gives back what a worker took and did not acknowledge for
    # long, whosever queue it is of.
    broker_transport_options={"global_keyprefix": "labelstream-training:"},
    # Keeps no file. A night that beat missed is made up by the next one, which takes all corrections.
    beat_scheduler="celery.beat:Scheduler",
    timezone="UTC",
    beat_schedule={
        "nightly-retrain": {
            "task": "labelstream.nightly_retrain",
            "schedule": crontab(hour=3, minute=0),
            "options": {"expires": VALID},
        }
    },
)


class RetrainFailed(Exception):
    """`training retrain` did not end with status 0."""


@app.task(name="labelstream.nightly_retrain", throws=(RetrainFailed,))
def nightly_retrain() -> None:
    """Retrain, and log in one line what became of it. It takes no arguments, and so no text."""
    if leaving.is_set():
        log.info("no retrain of %s is begun: the worker leaves", nightly.MODEL)
        return
    ended = nightly.run(nightly.retrain(), LONGEST)
    if ended.status or ended.result is None:
        said = f"retrain of {nightly.MODEL} failed with status {ended.status}: {ended.error}"
        log.error("%s", said)
        raise RetrainFailed(said)
    result = ended.result
    serves = "is in production now" if result["promoted"] else "is not promoted"
    log.info("%s:%s %s: %s", result["model"], result["version"], serves, result["reason"])


@setup_logging.connect
def _log_as_the_workers_do(**_: Any) -> None:
    set_up_logging(settings)


@worker_shutting_down.connect
def _leave(**_: Any) -> None:
    # Nothing half done stays: a version is registered as a whole or not at all. The message that was
    # fetched meanwhile would be the next to begin.
    leaving.set()
    nightly.break_off()
