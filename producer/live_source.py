"""What a source without an end has to offer, and which sources are such."""

from collections.abc import Callable, Iterator
from typing import Protocol

from db.errors import UsageError
from db.ledger.jobs import JobRecord, NewJob
from db.registry.names import ModelRef
from producer.draining import Drain
from producer.feeding import NewChunk
from producer.redis_address import is_stream
from producer.request import IngestRequest
from producer.services import Services


class Chunks(Protocol):
    """The chunks of one job, for as long as more may come; None where nothing came for a while."""

    @property
    def unentered(self) -> int:
        """Rows that were read, are in no chunk yet, and would be lost with this process."""

    def __iter__(self) -> Iterator[NewChunk | None]:
        """Begin to read; to be called once."""


class LiveSource(Protocol):
    """A source without an end, from the call that names it to the chunks that are made of it."""

    #: Whether a producer that lost its job, and nothing with it, goes on in another one.
    begins_again: bool

    def open(self, say: Callable[[str], None], seconds: float | None) -> bool:
        """Find out what must be known before there is a job; again until it returns True.

        False when that takes longer than `seconds` (None: as long as it takes). Raises `UsageError`
        for a source that cannot be used.
        """

    def new_job(self, reference: ModelRef, services: Services) -> NewJob:
        """Return the job that is to be made, with `stream` and `continues`; it must be open."""

    def chunks(self, services: Services, job: JobRecord, drain: Drain) -> Chunks:
        """Return the chunks of `job`, from its position on; they say what is to be done at a drain."""

    def has_rows_of(self, job: JobRecord) -> bool:
        """Whether it gives the rows that `job` has, which is done and was asked for in the same way.

        It may have to be read to its end for that, and is not read again after it.
        """

    def close(self) -> None:
        """Let go of it."""


def live_source(request: IngestRequest, warn: Callable[[str], None]) -> LiveSource | None:
    """Return the source without an end that `request` names, None where it names files.

    `warn` is told while it is read what a person should look at. Raises `UsageError` for a source
    that does not go with other options.
    """
    if request.sources == ("-",):
        _refuse(request, "standard input (-)", follow=request.follow)
        from producer.standard_input import StandardInput

        return StandardInput(request)
    if len(request.sources) == 1 and is_stream(request.sources[0]):
        _refuse(request, "a Redis stream", follow=request.follow)
        from producer.redis_stream import RedisStream

        return RedisStream(request, warn)
    if request.follow:
        _refuse(request, "a file that is followed", follow=False)
        from producer.followed_file import FollowedFile

        return FollowedFile(request, warn)
    return None


def _refuse(request: IngestRequest, source: str, *, follow: bool) -> None:
    if request.dry_run:
        raise UsageError(
            f"--dry-run reads a source to its end, which {source} has not; "
            "put some of it into a file and try that"
        )
    if follow:
        raise UsageError(f"--follow is for one local file; {source} is read on and on as it is")
