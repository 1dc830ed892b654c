"""What makes a second call the same job."""

import hashlib
import json
from collections.abc import Sequence

from producer.request import IngestRequest
from producer.rows import ReadOptions
from producer.source_file import SourceFile


def digest(value: object) -> str:
    """Return the SHA-256 of `value` as canonical JSON, in hex."""
    canonical = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(canonical.encode()).hexdigest()


def source_identity(sources: Sequence[SourceFile]) -> str:
    """Return what tells these sources from others, whatever they hold now."""
    return digest(["source", [source.name for source in sources]])


def job_identity(
    sources: Sequence[SourceFile], columns: ReadOptions, request: IngestRequest, model: str
) -> str:
    """Return what tells this job from others: its `--job-key`, else what it labels and how."""
    if request.job_key is not None:
        return key_identity(request.job_key)
    return content_identity(sources, columns, request, model)


def key_identity(key: str) -> str:
    """Return the identity of a job that has a key of the user's own."""
    return digest(["key", key])


def content_identity(
    sources: Sequence[SourceFile], columns: ReadOptions, request: IngestRequest, model: str
) -> str:
    """Return what a job labels and how: sources with content, how they are read, the model."""
    content = [[source.name, source.size, source.fingerprint] for source in sources]
    return reading_identity(["ingest", content], columns, request, model)


def reading_identity(
    content: Sequence[object], columns: ReadOptions, request: IngestRequest, model: str
) -> str:
    """Return what tells this reading of some content, and its labelling, from others.

    `columns` names the columns that are read, guessed or given, so that naming what would be
    guessed makes no second job.
    """
    return digest(
        [
            *content,
            [columns.text_column, columns.id_column, list(columns.keep_columns)],
            [columns.format, columns.delimiter, columns.encoding, columns.limit],
            [request.store_text, request.id_scope, model],
        ]
    )
