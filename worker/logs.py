"""One line an event, as text or JSON; never a row's text."""

import json
import logging
import sys
from datetime import UTC, datetime

from db.settings import Settings

#: Libraries that tell at INFO what only their own developers need.
_QUIET = (
    "aiobotocore",
    "alembic",
    # At DEBUG it tells the headers of every request, signatures among them.
    "botocore",
    "fsspec",
    "filelock",
    "httpx",
    "s3fs",
    "sqlalchemy",
    "transformers",
    "urllib3",
    # Our own line for a chunk says more than the two of Celery.
    "celery.app.trace",
    "celery.worker.strategy",
    # At DEBUG it tells the arguments of every task.
    "celery.pool",
)

#: How Celery begins to tell of a message that it cannot use, which it then shows, and our words.
_SHOWS_A_MESSAGE = {
    "Received unregistered task": "a task that this worker does not have",
    "Received and deleted unknown message": "a message that is no task",
    "Received invalid task message": "a task whose message is malformed",
    "Can't decode message body": "a message that is not JSON",
}


class WithoutMessages(logging.Filter):
    """Withholds what a message holds that Celery cannot use: another client's text, perhaps."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, those that show a message in words of ours."""
        for beginning, what in _SHOWS_A_MESSAGE.items():
            if str(record.msg).startswith(beginning):
                record.msg, record.args = "refused: %s", (what,)
                record.exc_info = record.exc_text = None
        return True


class WithoutBrokerTraces(logging.Filter):
    """Tells in one line, as it tells the rest, what Celery shows the whole way of.

    Errors of Redis, which pass, and the messages that a worker gives back when it leaves.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record through, some of them without their traces."""
        error = record.exc_info[1] if record.exc_info else None
        if error is not None and record.name.startswith(("celery.", "kombu.")):
            of_redis = type(error).__module__.split(".")[0] in ("redis", "kombu")
            if of_redis or isinstance(error, OSError) or type(error).__name__ == "Reject":
                record.exc_info = record.exc_text = None
        return True


class JsonFormatter(logging.Formatter):
    """A record as one JSON object a line."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line; an exception is one field of it."""
        entry = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        # As `tell` gives them.
        entry.update(getattr(record, "event", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def tell(log: logging.Logger, what: str, **fields: str | int) -> None:
    """Log an event with its fields: as `what: name=value …` in text, as fields of their own in JSON."""
    if log.isEnabledFor(logging.INFO):
        words = " ".join(f"{name}={value}" for name, value in fields.items())
        log.info("%s: %s", what, words, extra={"event": {"event": what, **fields}})


def set_up_logging(settings: Settings) -> None:
    """Send every record from LOG_LEVEL on to stderr, in the form that LOG_FORMAT says."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(WithoutMessages())
    handler.addFilter(WithoutBrokerTraces())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
