"""What a worker's log shows of the troubles of others: one line each."""

import logging
import sys

import pytest
import redis
from celery.exceptions import Reject

from worker.logs import WithoutBrokerTraces


def record_of(name: str, error: Exception) -> logging.LogRecord:
    try:
        raise error
    except type(error):
        return logging.LogRecord(name, logging.ERROR, "", 0, "it failed", (), sys.exc_info())


@pytest.mark.parametrize(
    ("name", "error", "shown"),
    [
        ("celery.worker.request", redis.exceptions.TimeoutError("Timeout reading"), False),
        ("celery.app.trace", Reject(requeue=True), False),
        ("kombu.asynchronous.hub", ConnectionResetError(), False),
        ("celery.app.trace", ValueError("a bug of ours"), True),
        ("worker.task", redis.exceptions.TimeoutError("Timeout reading"), True),
    ],
)
def test_only_bugs_show_the_way_to_them(name: str, error: Exception, shown: bool) -> None:
    record = record_of(name, error)
    assert WithoutBrokerTraces().filter(record)
    assert ("Traceback" in logging.Formatter().format(record)) is shown
