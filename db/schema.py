"""The tables, as SQLAlchemy models. They are the public interface of the results.

They change only by a migration in `db/migrations/versions`; a test compares the two.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    true,
)
from sqlalchemy import (
    text as sql,
)
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from db.clock import UtcDateTime, db_now

Json = JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")
BigId = BigInteger().with_variant(Integer, "sqlite")

NAMING_CONVENTION = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """The base of all tables."""

    metadata = MetaData(naming_convention=NAMING_CONVENTION)
    type_annotation_map = {  # noqa: RUF012
        str: Text(),
        datetime: UtcDateTime(),
        dict[str, Any]: Json,
        list[str]: Json,
    }


def table_of(model: type[Base]) -> Table:
    """Return the table itself: statements about it do not pass through the ORM."""
    table = model.__table__
    assert isinstance(table, Table)  # noqa: S101
    return table


class LedgerIdentity(Base):
    """The one row that tells this ledger from any other; messages name it."""

    __tablename__ = "ledger"

    id: Mapped[str] = mapped_column(primary_key=True)
    created_at: Mapped[datetime]


class Job(Base):
    """One ingest or relabel: what was read, with which model, and how it ended."""

    __tablename__ = "jobs"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    #: Where the rows came from, passwords hidden.
    source: Mapped[str]
    #: Hash of everything that makes a second call the same job.
    identity: Mapped[str]
    #: Hash of the source alone; the jobs of one stream share it.
    source_identity: Mapped[str]
    options: Mapped[dict[str, Any]]
    model: Mapped[str]
    #: What was asked for: `emotion@production` or `emotion:1`.
    model_ref: Mapped[str]
    id_scope: Mapped[str]
    store_text: Mapped[bool]
    #: running, done, failed, cancelled or purged.
    state: Mapped[str]
    #: A dry run's job, purged at its end.
    hidden: Mapped[bool] = mapped_column(default=False)
    parent_job: Mapped[int | None] = mapped_column(ForeignKey("jobs.id"))
    queue: Mapped[str]
    #: How it is read where its source has no end: stdin, follow, redis or task.
    stream: Mapped[str | None]
    #: Whether another producer can go on where this one stopped; if not, the sweeper ends the job
    #: of a producer that is gone.
    continues: Mapped[bool] = mapped_column(default=True, server_default=true())
    #: Where reading goes on: file, offset in bytes, line, row.
    position: Mapped[dict[str, Any]]
    next_chunk: Mapped[int] = mapped_column(default=1)
    producer: Mapped[str | None]
    producer_token: Mapped[str | None]
    producer_lease_until: Mapped[datetime | None]
    source_exhausted: Mapped[bool] = mapped_column(default=False)
    source_error: Mapped[str | None]
    #: Why the job failed.
    error: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(default=db_now())
    finished_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_jobs_identity_running",
            "identity",
            unique=True,
            postgresql_where=sql("state = 'running'"),
            sqlite_where=sql("state = 'running'"),
        ),
        Index("ix_jobs_identity", "identity"),
        Index("ix_jobs_source_identity", "source_identity"),
        Index("ix_jobs_state", "state"),
    )


class Chunk(Base):
    """Some rows of a job that travel, run and are written together."""

    __tablename__ = "chunks"

    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("jobs.id"), primary_key=True)
    number: Mapped[int] = mapped_column(Integer, primary_key=True)
    parent_number: Mapped[int | None] = mapped_column(Integer)
    row_count: Mapped[int] = mapped_column(Integer)
    #: Of the rows, those that the parser rejected; their `rejects` are already written.
    rejected_parsed: Mapped[int] = mapped_column(Integer, default=0)
    labeled: Mapped[int] = mapped_column(Integer, default=0)
    rejected_worker: Mapped[int] = mapped_column(Integer, default=0)
    #: queued, leased, done or split.
    state: Mapped[str]
    queue: Mapped[str]
    queued_at: Mapped[datetime] = mapped_column(default=db_now())
    sent_at: Mapped[datetime | None]
    claims: Mapped[int] = mapped_column(Integer, default=0)
    claimed_at: Mapped[datetime | None]
    #: Its lease ran out once: it runs alone in a process from now on.
    suspect: Mapped[bool] = mapped_column(default=False)
    claimed_alone: Mapped[bool] = mapped_column(default=False)
    strikes: Mapped[int] = mapped_column(Integer, default=0)
    lease_token: Mapped[str | None]
    lease_until: Mapped[datetime | None]
    worker: Mapped[str | None]
    engine: Mapped[str | None]
    model_version: Mapped[int | None] = mapped_column(Integer)
    tokens: Mapped[int | None] = mapped_column(BigInteger)
    busy_seconds: Mapped[float | None]
    #: The kind of the last error, without any row's text.
    last_error: Mapped[str | None]
    #: zstd, until the chunk is done.
    payload: Mapped[bytes | None] = mapped_column(LargeBinary)
    done_at: Mapped[datetime | None]

    __table_args__ = (
        # Not a partial index: SQLite would not use one for a state that is a bound parameter.
        Index("ix_chunks_state_job_id", "state", "job_id"),
        # Of chunks that are done alone: of any chunk PostgreSQL, which knows nothing of a new table,
        # might look for by this index, and so through all chunks of the job.
        Index(
            "ix_chunks_job_id_done_at",
            "job_id",
            "done_at",
            postgresql_where=sql("done_at IS NOT NULL"),
            sqlite_where=sql("done_at IS NOT NULL"),
        ),
        Index(
            "ix_chunks_queue_sent_claimed",
            "queue",
            "sent_at",
            postgresql_where=sql("claimed_at IS NOT NULL"),
            sqlite_where=sql("claimed_at IS NOT NULL"),
        ),
    )


class Lease(Base):
    """A duty that one process at a time holds, such as the sweeper's."""

    __tablename__ = "leases"

    name: Mapped[str] = mapped_column(primary_key=True)
    holder: Mapped[str]
    until: Mapped[datetime]


class Worker(Base):
    """A worker process that gave a sign of life."""

    __tablename__ = "workers"

    name: Mapped[str] = mapped_column(primary_key=True)
    #: The versions it has loaded, such as `["emotion:1"]`.
    model_versions: Mapped[list[str]]
    engine: Mapped[str]
    device: Mapped[str]
    queues: Mapped[list[str]]
    #: Which process it is, told so that another on its machine can see whether it lives.
    process: Mapped[str | None]
    started_at: Mapped[datetime] = mapped_column(default=db_now())
    seen_at: Mapped[datetime] = mapped_column(default=db_now())


class StreamEntry(Base):
    """An entry of a source stream, or a task, that is in the ledger but perhaps not acknowledged."""

    __tablename__ = "stream_entries"

    source_identity: Mapped[str] = mapped_column(primary_key=True)
    entry_id: Mapped[str] = mapped_column(primary_key=True)
    entered_at: Mapped[datetime | None] = mapped_column(default=db_now())

    __table_args__ = (Index("ix_stream_entries_entered_at", "entered_at"),)


class LabeledText(Base):
    """One row that a model labelled."""

    __tablename__ = "labeled_texts"

    job_id: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    row_number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    external_id: Mapped[str | None]
    id_scope: Mapped[str]
    text_hash: Mapped[str | None]
    text: Mapped[str | None]
    truncated: Mapped[bool]
    label: Mapped[str]
    confidence: Mapped[float]
    scores: Mapped[dict[str, Any]]
    #: Every label of a multi-label model; null for the others.
    labels: Mapped[list[str] | None] = mapped_column(Json)
    unsure: Mapped[bool]
    model: Mapped[str]
    model_version: Mapped[int] = mapped_column(Integer)
    engine: Mapped[str]
    #: The columns kept by `--keep-columns`.
    extra: Mapped[dict[str, Any] | None] = mapped_column(Json)
    labeled_at: Mapped[datetime]

    __table_args__ = (
        # The keys of `current_labels`. A row is under one of them, so each index has the rows that
        # are under its key alone: hashes come in no order, and each would touch a page of its own.
        Index(
            "ix_labeled_texts_id_key",
            "external_id",
            "id_scope",
            "model",
            postgresql_where=sql("external_id IS NOT NULL"),
            sqlite_where=sql("external_id IS NOT NULL"),
        ),
        Index(
            "ix_labeled_texts_text_key",
            "text_hash",
            "model",
            postgresql_where=sql("external_id IS NULL"),
            sqlite_where=sql("external_id IS NULL"),
        ),
        # The label is for those who count labels over time: without it each row would be looked up.
        Index("ix_labeled_texts_version_time", "model", "model_version", "labeled_at", "label"),
        # For the rows that a model is least sure of, and alone for the label mix of a job.
        Index("ix_labeled_texts_job_confidence", "job_id", "confidence", "label"),
        # PostgreSQL asks for each row whether its job is there, which takes a third of what writing
        # the row does. Rows are written only with their chunk, whose job is known to be there.
        ForeignKeyConstraint(["job_id"], ["jobs.id"], name="fk_labeled_texts_jobs").ddl_if(
            dialect="sqlite"
        ),
    )


class Reject(Base):
    """One row that could not be labelled, and why."""

    __tablename__ = "rejects"

    job_id: Mapped[int] = mapped_column(BigId, ForeignKey("jobs.id"), primary_key=True)
    row_number: Mapped[int] = mapped_column(BigId, primary_key=True, autoincrement=False)
    source_file: Mapped[str | None]
    line: Mapped[int | None] = mapped_column(BigInteger)
    reason: Mapped[str]
    #: The row as it stood, escaped, at most 4 KB; null with `--no-store-text`.
    raw: Mapped[str | None]

    __table_args__ = (Index("ix_rejects_job_reason", "job_id", "reason"),)


class Correction(Base):
    """A person's label for a row: append-only, of each annotator the newest entry counts."""

    __tablename__ = "corrections"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    job_id: Mapped[int] = mapped_column(BigId)
    row_number: Mapped[int] = mapped_column(BigId)
    #: Null: the annotator withdraws all that they said of the row before.
    label: Mapped[str | None]
    annotator: Mapped[str]
    at: Mapped[datetime] = mapped_column(default=db_now())
    #: How the row was chosen when it was answered: uncertain, random, stratified or search; null if
    #: in another way, or if nobody knows.
    strategy: Mapped[str | None]

    __table_args__ = (
        ForeignKeyConstraint(
            ["job_id", "row_number"],
            ["labeled_texts.job_id", "labeled_texts.row_number"],
            name="fk_corrections_labeled_texts",
        ),
        Index("ix_corrections_job_id_row_number", "job_id", "row_number"),
    )


class Model(Base):
    """A named model, and the counter that numbers its versions."""

    __tablename__ = "models"

    name: Mapped[str] = mapped_column(primary_key=True)
    next_version: Mapped[int] = mapped_column(Integer, default=1)
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class ModelVersion(Base):
    """One immutable version of a named model."""

    __tablename__ = "model_versions"

    model: Mapped[str] = mapped_column(ForeignKey("models.name"), primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    base: Mapped[str]
    base_revision: Mapped[str | None]
    base_sha256: Mapped[dict[str, Any]]
    #: Folder of the adapter in the registry.
    adapter: Mapped[str]
    adapter_sha256: Mapped[dict[str, Any]]
    #: Folder of the merged model that serves; derived, made anew when missing or damaged.
    merged: Mapped[str | None]
    merged_sha256: Mapped[dict[str, Any] | None] = mapped_column(Json)
    labels: Mapped[list[str]]
    multi_label: Mapped[bool] = mapped_column(default=False)
    max_length: Mapped[int] = mapped_column(Integer)
    #: Divides the logits before the softmax; {engine: temperature}, 1 where none is given.
    temperature: Mapped[dict[str, Any]]
    #: Rows with a confidence below it are marked `unsure`.
    unsure_below: Mapped[float | None]
    metrics: Mapped[dict[str, Any]]
    #: Histograms of labels, confidence and token length, to tell drift.
    reference: Mapped[dict[str, Any] | None] = mapped_column(Json)
    data_fingerprint: Mapped[str | None]
    data: Mapped[str | None]
    license: Mapped[str | None]
    language: Mapped[str | None]
    parent_version: Mapped[int | None] = mapped_column(Integer)
    libraries: Mapped[dict[str, Any]]
    #: ready or pruned.
    state: Mapped[str]
    created_at: Mapped[datetime] = mapped_column(default=db_now())


class ModelAlias(Base):
    """A name, such as `production`, that points to a version."""

    __tablename__ = "model_aliases"

    model: Mapped[str] = mapped_column(primary_key=True)
    alias: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer)

    __table_args__ = (
        ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name="fk_model_aliases_model_versions",
        ),
    )


class ModelEvent(Base):
    """Who registered, promoted, rolled back or refused to load which version, when and why."""

    __tablename__ = "model_events"

    id: Mapped[int] = mapped_column(BigId, primary_key=True)
    model: Mapped[str]
    version: Mapped[int | None] = mapped_column(Integer)
    event: Mapped[str]
    alias: Mapped[str | None]
    from_version: Mapped[int | None] = mapped_column(Integer)
    who: Mapped[str]
    why: Mapped[str | None]
    at: Mapped[datetime] = mapped_column(default=db_now())

    __table_args__ = (Index("ix_model_events_model_id", "model", "id"),)


class EngineBuild(Base):
    """A version made ready for one engine on one kind of processor; derived and checked."""

    __tablename__ = "engine_builds"

    model: Mapped[str] = mapped_column(primary_key=True)
    version: Mapped[int] = mapped_column(Integer, primary_key=True)
    engine: Mapped[str] = mapped_column(primary_key=True)
    engine_version: Mapped[str] = mapped_column(primary_key=True)
    cpu_features: Mapped[str] = mapped_column(primary_key=True)
    location: Mapped[str]
    sha256: Mapped[dict[str, Any]]
    #: Share of labels equal to fp32.
    agreement: Mapped[float]
    accuracy: Mapped[float | None]
    created_at: Mapped[datetime] = mapped_column(default=db_now())

    __table_args__ = (
        ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name="fk_engine_builds_model_versions",
        ),
    )
