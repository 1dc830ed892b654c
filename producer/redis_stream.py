"""A Redis stream as a source: read through a consumer group, by as many producers as there are."""

import secrets
import time
from collections.abc import Callable
from dataclasses import asdict, replace

from redis.exceptions import AuthenticationError, RedisError

from db.defaults import START_TIMEOUT_SECONDS
from db.errors import ServiceUnavailable, UsageError
from db.ledger.jobs import JobRecord, NewJob, ledger_id
from db.registry.names import ModelRef
from db.store import Store
from producer.columns import Columns
from producer.draining import Drain
from producer.encodings import find_encoding
from producer.identity import digest
from producer.ingest import START, job_options
from producer.live import Pace
from producer.redis_address import parse_address
from producer.redis_chunks import EntryChunks, SourceOutage
from producer.redis_group import StreamGroup, is_away
from producer.redis_heirs import Heir, consumer_name, group_identity
from producer.redis_rows import EntryMaker
from producer.request import IngestRequest
from producer.services import Services
from worker.outbox import broker_error

#: The field of the text where none is named.
_TEXT_FIELD = "text"


class RedisStream:
    """A consumer group of a stream. Each producer has a job, and a consumer's name, of its own."""

    #: A producer that was taken for dead, and lives, goes on in another job.
    begins_again = True

    def __init__(self, request: IngestRequest, warn: Callable[[str], None]) -> None:
        self._address = parse_address(request.sources[0])
        _refuse(request, str(self._address))
        self._request = request
        self._warn = warn
        read = request.read
        self._encoding = find_encoding(read.encoding)
        self._columns = Columns(read.text_column or _TEXT_FIELD, read.id_column, read.keep_columns)
        self._group = StreamGroup(self._address)
        self._made = False
        self._identity: str | None = None
        self._chunks: EntryChunks | None = None

    def open(self, say: Callable[[str], None], seconds: float | None) -> bool:
        """Reach the server and make the group if it is not there.

        Raises `ServiceUnavailable` for a server that cannot be reached or used, `UsageError` for a
        key that is no stream.
        """
        deadline = time.monotonic() + START_TIMEOUT_SECONDS
        while True:
            try:
                self._made = self._group.make()
                if self._made:
                    say(f"group {self._address.group!r} is made; it begins with the first entry")
                return True
            except (RedisError, OSError) as error:
                passes = is_away(error) and not isinstance(error, AuthenticationError)
                if not passes or time.monotonic() > deadline:
                    raise self._unusable(error) from None
            time.sleep(0.5)

    def new_job(self, reference: ModelRef, services: Services) -> NewJob:
        """Return a job of this producer alone; the stream's jobs share their `source_identity`."""
        request, address = self._request, self._address
        read = replace(request.read, text_column=self._columns.text)
        return NewJob(
            source=str(address),
            identity=digest(["redis", secrets.token_hex(16)]),
            source_identity=self._known_as(services.store),
            id_scope=request.id_scope or address.scope,
            options=job_options(request, read, [str(address)]),
            model=reference.model,
            model_ref=str(reference),
            queue=request.queue,
            position=asdict(START),
            store_text=request.store_text,
            stream="redis",
            continues=False,
        )

    def chunks(self, services: Services, job: JobRecord, drain: Drain) -> EntryChunks:
        """Return the chunks of `job`, read under a name that no other producer has."""
        ledger = ledger_id(services.store)
        consumer = consumer_name(ledger, job.id)
        request = self._request
        limit = request.read.limit if self._chunks is None else self._chunks.left
        self._chunks = EntryChunks(
            self._group,
            job.source_identity,
            consumer,
            EntryMaker(self._address.scope, self._columns, self._encoding, keep_raw=job.store_text),
            Heir(self._group, services.store, ledger, consumer, warn=self._warn),
            SourceOutage(self._address.server, services.patience, self._warn),
            Pace(request.chunk_rows, request.max_wait),
            drain,
            limit=limit,
            new_life=self._made and self._chunks is None,
            warn=self._warn,
        )
        return self._chunks

    def has_rows_of(self, job: JobRecord) -> bool:
        """Return True: each producer makes a job of its own."""
        return True

    def close(self) -> None:
        """Let go of the connection."""
        self._group.close()

    def _known_as(self, store: Store) -> str:
        """Return what tells the group from others, the same for all producers of this ledger."""
        if self._identity is None:
            try:
                known = group_identity(self._group, store, ledger_id(store))
            except (RedisError, OSError) as error:
                raise self._unusable(error) from None
            self._identity = known or digest(["redis", str(self._address)])
        return self._identity

    def _unusable(self, error: Exception) -> Exception:
        name = str(self._address)
        if isinstance(error, AuthenticationError):
            return ServiceUnavailable(f"{name}: the server refuses the user or the password")
        if "WRONGTYPE" in str(error):
            return UsageError(f"{name}: the key {self._address.stream!r} is there, but no stream")
        return ServiceUnavailable(
            f"{name} cannot be used: {broker_error(error)}; check the address, and that Redis runs"
        )


def _refuse(request: IngestRequest, name: str) -> None:
    """Raise `UsageError` for options that say nothing of a stream."""
    read = request.read
    told = {
        "--again": request.again,
        "--job-key": request.job_key is not None,
        "--format": read.format != "auto",
        "--delimiter": read.delimiter != "auto",
    }
    why = {
        "--again": "each entry is labelled once; to label a stream anew, name another group",
        "--job-key": "each producer of a stream has a job of its own, and none can be continued",
        "--format": "an entry of a stream has fields",
        "--delimiter": "an entry of a stream has fields",
    }
    for option, given in told.items():
        if given:
            raise UsageError(f"{option} is not for {name}: {why[option]}; leave it out")
