"""The embedded mode: a private Redis and a worker for those who configured neither.

One keeper process a HOME_DIR is the parent of both. Every ingest (a member) holds a shared lock
on `run.lock`; the keeper leaves, and takes its children along, when it can take that lock alone:
a member that was killed leaves nothing behind. Nothing here imports Celery, torch or
transformers.
"""

from worker.embedded.membership import Embedded, running_broker

__all__ = ["Embedded", "running_broker"]
