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
)


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
        entry.update(getattr(record, "event", {}))
        if record.exc_info:
            entry["exception"] = self.formatException(record.exc_info)
        return json.dumps(entry, default=str)


def set_up_logging(settings: Settings) -> None:
    """Send every record from LOG_LEVEL on to stderr, in the form that LOG_FORMAT says."""
    handler = logging.StreamHandler(sys.stderr)
    if settings.log_format == "json":
        handler.setFormatter(JsonFormatter())
    else:
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.log_level)
    for name in _QUIET:
        logging.getLogger(name).setLevel(max(logging.WARNING, root.level))
