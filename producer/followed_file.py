"""One growing file as a source: `--follow`, as `tail -F` reads it."""

import glob
import os
import stat
from collections.abc import Callable
from typing import Any

from db.errors import UsageError
from db.ledger.jobs import JobRecord, NewJob
from db.registry.names import ModelRef
from producer.beginning import CONTENT
from producer.chunking import ChunkBuilder, PlacedChunk, row_bytes
from producer.content import SAMPLE_BYTES
from producer.draining import Drain
from producer.encodings import find_encoding
from producer.following import FollowedRow, Follower, FollowPosition, recorded, refuse_wide
from producer.formats.naming import format_of
from producer.identity import digest, key_identity, reading_identity
from producer.ingest import job_options
from producer.live import LiveChunks, Pace, Sink
from producer.live_head import Prelude
from producer.request import IngestRequest
from producer.services import Services
from producer.source_file import SourceFile, is_url
from producer.sources import storable


class FollowedFile:
    """A file that somebody writes on; the same command goes on with it where it stopped."""

    begins_again = False

    def __init__(self, request: IngestRequest, warn: Callable[[str], None]) -> None:
        self._request = request
        self._warn = warn
        self._path = _checked_path(request.sources)
        self._name = storable(self._path)
        self._format = _checked_format(self._path, self._name, request)
        self._say: Callable[[str], None] = lambda line: None

    def open(self, say: Callable[[str], None], seconds: float | None) -> bool:
        """Check what is there by now; a file that is empty or not there yet is waited for later."""
        self._say = say
        prelude = Prelude(self._name, self._request.read, self._format)
        try:
            with open(self._path, "rb") as file:
                while (opened := prelude.head()) is None:
                    data = file.read(SAMPLE_BYTES)
                    if not data:
                        return True
                    prelude.add(data)
                refuse_wide(opened, self._name)
        except FileNotFoundError:
            if not os.path.isdir(os.path.dirname(self._path)):
                raise UsageError(
                    f"{self._name} is not there, nor the folder that it would be in; check the path"
                ) from None
        except OSError as error:
            raise UsageError(f"{self._name} cannot be read: {error.strerror}") from None
        return True

    def new_job(self, reference: ModelRef, _: Services) -> NewJob:
        """Return the job for it, known again by the path and how it is read, whatever it holds."""
        request = self._request
        options = job_options(request, request.read, [self._path])
        content = reading_identity(["follow", self._name], request.read, request, str(reference))
        identity = content
        if request.job_key is not None:
            options[CONTENT] = content
            identity = key_identity(request.job_key)
        return NewJob(
            source=self._name,
            identity=identity,
            source_identity=digest(["source", [self._name]]),
            id_scope=request.id_scope or self._name,
            options=options,
            model=reference.model,
            model_ref=str(reference),
            queue=request.queue,
            position=FollowPosition.at_start(self._path).to_json(),
            store_text=request.store_text,
            stream="follow",
        )

    def chunks(self, services: Services, job: JobRecord, drain: Drain) -> LiveChunks[Any]:
        """Return the chunks of its rows, from the job's position on."""
        request = self._request
        start = FollowPosition.of(job.position)

        def read(put: Sink[FollowedRow]) -> None:
            limit = request.read.limit
            if limit is not None and start.row >= limit:
                return
            follower = Follower(
                self._path,
                self._name,
                self._format,
                request.read,
                tell=self._say,
                warn=self._warn,
            )
            for found in follower.rows(start, drain):
                put(found, row_bytes(found[0]))
                if found[1].row == limit:
                    return

        def make(rows: list[FollowedRow]) -> PlacedChunk:
            chunk = ChunkBuilder(keep_raw=job.store_text)
            for row, _, _ in rows:
                chunk.add(row)
            _, place, beginning = rows[-1]
            return PlacedChunk(chunk.built(), recorded(place, beginning))

        pace = Pace(request.chunk_rows, request.max_wait)
        return LiveChunks(read, make, pace, drain, name="followed-file")

    def has_rows_of(self, job: JobRecord) -> bool:
        """Return True: it is known by its path, not by what it holds."""
        return True

    def close(self) -> None:
        """Do nothing: what is open is closed by the thread that reads it."""


def _checked_path(sources: tuple[str, ...]) -> str:
    if len(sources) != 1:
        raise UsageError("--follow reads one file; give one path, and a command for each file")
    source = sources[0]
    if is_url(source):
        raise UsageError("--follow reads a local file; give its path")
    if glob.has_magic(source) and not os.path.lexists(source):
        raise UsageError("--follow reads one file, no pattern; give its path")
    path = os.path.abspath(source)
    try:
        mode = os.stat(path).st_mode
    except (OSError, ValueError) as error:
        if isinstance(error, FileNotFoundError):
            return path
        raise UsageError(
            f"{storable(path)} cannot be read: {getattr(error, 'strerror', 'not a usable path')}"
        ) from None
    if stat.S_ISDIR(mode):
        raise UsageError(f"{storable(path)} is a folder; --follow reads one file in it")
    if not stat.S_ISREG(mode):
        raise UsageError(
            f"{storable(path)} is no regular file; pipe what it gives: cat PATH | producer ingest -"
        )
    return path


def _checked_format(path: str, name: str, request: IngestRequest) -> str:
    source = SourceFile(url=path, name=name, size=None, fingerprint="", seekable=True)
    found = format_of(source, request.read.format)
    if found.compression is not None or found.name == "parquet":
        what = "Parquet" if found.name == "parquet" else "compressed"
        raise UsageError(f"--follow reads text that grows; {name} is {what}: ingest it as it is")
    if find_encoding(request.read.encoding).transcoded_from is not None:
        raise UsageError(
            f"--follow reads utf-8 and encodings of one byte a character, "
            f"not {request.read.encoding}"
        )
    return found.name
