"""What one call of `producer ingest` asks for."""

from dataclasses import dataclass

from db.defaults import CHUNK_ROWS, MAX_QUEUED_CHUNKS, MAX_WAIT_SECONDS, QUEUE
from producer.rows import ReadOptions


@dataclass(frozen=True)
class IngestRequest:
    """The arguments and options, checked one by one but not yet against the source."""

    sources: tuple[str, ...]
    model: str
    read: ReadOptions
    chunk_rows: int = CHUNK_ROWS
    max_queued: int = MAX_QUEUED_CHUNKS
    queue: str = QUEUE
    #: A number, or a share of the rows such as `5%`; None: any number of rejects is fine.
    max_rejects: str | None = None
    store_text: bool = True
    job_key: str | None = None
    id_scope: str | None = None
    wait: bool = True
    again: bool = False
    dry_run: bool = False
    #: Read one growing file on and on.
    follow: bool = False
    #: The job that is to go on; None: the one that fits, or a new one.
    resumes: int | None = None
    #: Seconds after its first row at which a chunk of a stream is closed.
    max_wait: float = MAX_WAIT_SECONDS
