"""Standard input as a source: lines, JSON Lines or CSV, read as they come."""

import os
import secrets
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

from db.errors import UsageError
from db.ledger.jobs import JobRecord, NewJob
from db.registry.names import ModelRef
from producer.beginning import CONTENT
from producer.chunking import row_bytes
from producer.draining import Drain
from producer.identity import digest, key_identity, reading_identity
from producer.ingest import START, job_options
from producer.live import LiveChunks, Pace, Sink
from producer.live_head import LiveHead, Prelude
from producer.live_rows import (
    LivePosition,
    OtherInput,
    PlacedRow,
    Rewound,
    placed_chunk,
    placed_rows,
)
from producer.request import IngestRequest
from producer.rows import SourceError
from producer.services import Services
from producer.standard_bytes import NAME, StandardBytes

#: What is said of a format.
_SPOKEN = {
    "text": "plain text, a text a line",
    "jsonl": "JSON Lines",
    "csv": "CSV",
    "tsv": "TSV",
}

#: What cannot be read as it is, and how it can.
_PACKED = ((b"\x1f\x8b", "gzip", "zcat FILE"), (b"\x28\xb5\x2f\xfd", "zstd", "zstdcat FILE"))

#: Bytes of one read while the head is not known.
_HEAD_BYTES = 1 << 16


class StandardInput:
    """What is piped into the command; without a key of the user's own, each call is a job."""

    begins_again = False

    def __init__(self, request: IngestRequest) -> None:
        if request.read.format == "parquet":
            raise UsageError(f"{NAME} cannot be read as Parquet; name a file")
        self._request = request
        self._descriptor = sys.stdin.fileno()
        self._bytes = StandardBytes(self._descriptor, continues=request.job_key is not None)
        self._prelude = Prelude(NAME, request.read, request.read.format)
        self._opened: LiveHead | None = None
        self._greeted = False

    def open(self, say: Callable[[str], None], seconds: float | None) -> bool:
        """Read the first whole lines; False when they do not come within `seconds`."""
        if not self._greeted:
            self._greeted = True
            if os.isatty(self._descriptor):
                say("reading from the terminal; end with Ctrl-D")
        until = float("inf") if seconds is None else time.monotonic() + seconds
        if seconds is None:
            say(f"waiting for the first line of {NAME}")
        while self._opened is None:
            if not self._bytes.waits(min(until - time.monotonic(), 1.0)):
                if time.monotonic() >= until:
                    return False
                continue
            self._collect()
            self._opened = self._prelude.head()
            if self._opened is not None:
                say(f"{NAME} is read as {_SPOKEN[self._opened.head.format.name]}")
                for note in self._opened.notes:
                    say(note)
        return True

    def new_job(self, reference: ModelRef, _: Services) -> NewJob:
        """Return the job for it; only one with a key can be continued, by the same input."""
        request, opened = self._request, self._known
        key = request.job_key
        columns = opened.options(request.read)
        options = job_options(request, columns, request.sources)
        name = secrets.token_hex(8) if key is None else key
        if key is not None:
            options[CONTENT] = reading_identity(["stdin"], columns, request, str(reference))
        return NewJob(
            source=NAME,
            identity=digest(["stdin", name]) if key is None else key_identity(key),
            source_identity=digest(["stdin", name]),
            id_scope=request.id_scope or f"{NAME} {name}",
            options=options,
            model=reference.model,
            model_ref=str(reference),
            queue=request.queue,
            position=asdict(START),
            store_text=request.store_text,
            stream="stdin",
            continues=key is not None,
        )

    def chunks(self, services: Services, job: JobRecord, drain: Drain) -> LiveChunks[Any]:
        """Return the chunks of its rows; those before the job's position are read over."""
        request = self._request
        start = LivePosition(**job.position)
        self._bytes.drain = drain
        return LiveChunks(
            lambda put: self._read(start, put),
            lambda rows: placed_chunk(rows, keep_raw=job.store_text),
            Pace(request.chunk_rows, request.max_wait),
            drain,
            name="standard-input",
        )

    def has_rows_of(self, job: JobRecord) -> bool:
        """Read it, and tell whether `job`, which is done, labelled all of it."""
        limit = self._request.read.limit
        try:
            more = next(self._rows(LivePosition(**job.position)), None)
        except OtherInput:
            return False
        return more is None or job.position["row"] == limit

    def close(self) -> None:
        """Leave it open: it is not ours."""

    @property
    def _known(self) -> LiveHead:
        assert self._opened is not None, "it is open"  # noqa: S101
        return self._opened

    def _collect(self) -> None:
        prelude = self._prelude
        try:
            prelude.add(self._bytes.read(_HEAD_BYTES))
        except (SourceError, UsageError) as error:
            raise UsageError(f"{error}; redirect or pipe something readable into it") from None
        for magic, kind, command in _PACKED:
            if prelude.data.startswith(magic):
                raise UsageError(
                    f"{NAME} looks like {kind}; unpack it on the way: {command} | producer ingest -"
                )
        if prelude.blank:
            raise UsageError(f"{NAME} is empty; there is nothing to label")

    def _rows(self, start: LivePosition) -> Iterator[PlacedRow]:
        stream = Rewound(bytes(self._prelude.data), self._bytes)
        self._prelude.data.clear()
        return placed_rows(stream, self._known, start, NAME)

    def _read(self, start: LivePosition, put: Sink[PlacedRow]) -> None:
        limit = self._request.read.limit
        if limit is not None and start.row >= limit:
            return
        for row, place in self._rows(start):
            put((row, place), row_bytes(row))
            if place.row == limit:
                return
