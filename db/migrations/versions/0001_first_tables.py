"""The first tables, and the view over them."""

import uuid

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

from db.clock import UtcDateTime, db_now
from db.migrations.views import current_labels

revision = "0001"
down_revision = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("identity", sa.Text(), nullable=False),
        sa.Column("source_identity", sa.Text(), nullable=False),
        sa.Column("options", JSON, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_ref", sa.Text(), nullable=False),
        sa.Column("id_scope", sa.Text(), nullable=False),
        sa.Column("store_text", sa.Boolean(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("hidden", sa.Boolean(), nullable=False),
        sa.Column("parent_job", BIG_ID, nullable=True),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("position", JSON, nullable=False),
        sa.Column("next_chunk", sa.Integer(), nullable=False),
        sa.Column("producer", sa.Text(), nullable=True),
        sa.Column("producer_token", sa.Text(), nullable=True),
        sa.Column("producer_lease_until", UtcDateTime(), nullable=True),
        sa.Column("source_exhausted", sa.Boolean(), nullable=False),
        sa.Column("source_error", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["parent_job"], ["jobs.id"], name=op.f("fk_jobs_jobs")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
    )
    op.create_index("ix_jobs_identity", "jobs", ["identity"], unique=False)
    op.create_index("ix_jobs_source_identity", "jobs", ["source_identity"], unique=False)
    op.create_index("ix_jobs_state", "jobs", ["state"], unique=False)
    op.create_index(
        "uq_jobs_identity_running",
        "jobs",
        ["identity"],
        unique=True,
        postgresql_where=sa.text("state = 'running'"),
        sqlite_where=sa.text("state = 'running'"),
    )
    op.create_table(
        "leases",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_leases")),
    )
    op.create_table(
        "ledger",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger")),
    )
    op.create_table(
        "model_events",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=True),
        sa.Column("from_version", sa.Integer(), nullable=True),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=True),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_model_events")),
    )
    op.create_index("ix_model_events_model_id", "model_events", ["model", "id"], unique=False)
    op.create_table(
        "models",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("next_version", sa.Integer(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_models")),
    )
    op.create_table(
        "stream_entries",
        sa.Column("source_identity", sa.Text(), nullable=False),
        sa.Column("entry_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("source_identity", "entry_id", name=op.f("pk_stream_entries")),
    )
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("model_versions", JSON, nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("device", sa.Text(), nullable=False),
        sa.Column("queues", JSON, nullable=False),
        sa.Column("started_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.create_table(
        "chunks",
        sa.Column("job_id", BIG_ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("parent_number", sa.Integer(), nullable=True),
        sa.Column("row_count", sa.Integer(), nullable=False),
        sa.Column("rejected_parsed", sa.Integer(), nullable=False),
        sa.Column("labeled", sa.Integer(), nullable=False),
        sa.Column("rejected_worker", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("queue", sa.Text(), nullable=False),
        sa.Column("queued_at", UtcDateTime(), nullable=False),
        sa.Column("sent_at", UtcDateTime(), nullable=True),
        sa.Column("claims", sa.Integer(), nullable=False),
        sa.Column("claimed_at", UtcDateTime(), nullable=True),
        sa.Column("suspect", sa.Boolean(), nullable=False),
        sa.Column("claimed_alone", sa.Boolean(), nullable=False),
        sa.Column("strikes", sa.Integer(), nullable=False),
        sa.Column("lease_token", sa.Text(), nullable=True),
        sa.Column("lease_until", UtcDateTime(), nullable=True),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("engine", sa.Text(), nullable=True),
        sa.Column("model_version", sa.Integer(), nullable=True),
        sa.Column("tokens", sa.BigInteger(), nullable=True),
        sa.Column("busy_seconds", sa.Double(), nullable=True),
        sa.Column("last_error", sa.Text(), nullable=True),
        sa.Column("payload", sa.LargeBinary(), nullable=True),
        sa.Column("done_at", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_chunks_jobs")),
        sa.PrimaryKeyConstraint("job_id", "number", name=op.f("pk_chunks")),
    )
    op.create_index("ix_chunks_state_job_id", "chunks", ["state", "job_id"], unique=False)
    op.create_index(
        "ix_chunks_queue_sent_claimed",
        "chunks",
        ["queue", "sent_at"],
        unique=False,
        postgresql_where=sa.text("claimed_at IS NOT NULL"),
        sqlite_where=sa.text("claimed_at IS NOT NULL"),
    )
    op.create_table(
        "labeled_texts",
        sa.Column("job_id", BIG_ID, nullable=False),
        sa.Column("row_number", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("external_id", sa.Text(), nullable=True),
        sa.Column("id_scope", sa.Text(), nullable=False),
        sa.Column("text_hash", sa.Text(), nullable=True),
        sa.Column("text", sa.Text(), nullable=True),
        sa.Column("truncated", sa.Boolean(), nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("confidence", sa.Double(), nullable=False),
        sa.Column("scores", JSON, nullable=False),
        sa.Column("labels", JSON, nullable=True),
        sa.Column("unsure", sa.Boolean(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("model_version", sa.Integer(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("extra", JSON, nullable=True),
        sa.Column("labeled_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_labeled_texts_jobs")),
        sa.PrimaryKeyConstraint("job_id", "row_number", name=op.f("pk_labeled_texts")),
    )
    op.create_index("ix_labeled_texts_external_id", "labeled_texts", ["external_id"], unique=False)
    op.create_index(
        "ix_labeled_texts_job_confidence", "labeled_texts", ["job_id", "confidence"], unique=False
    )
    op.create_index(
        "ix_labeled_texts_job_label", "labeled_texts", ["job_id", "label"], unique=False
    )
    op.create_index(
        "ix_labeled_texts_scope",
        "labeled_texts",
        ["model", "id_scope", "external_id"],
        unique=False,
    )
    op.create_index(
        "ix_labeled_texts_text_hash", "labeled_texts", ["model", "text_hash"], unique=False
    )
    op.create_index(
        "ix_labeled_texts_version_time",
        "labeled_texts",
        ["model", "model_version", "labeled_at"],
        unique=False,
    )
    op.create_table(
        "model_versions",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("base", sa.Text(), nullable=False),
        sa.Column("base_revision", sa.Text(), nullable=True),
        sa.Column("base_sha256", JSON, nullable=False),
        sa.Column("adapter", sa.Text(), nullable=False),
        sa.Column("adapter_sha256", JSON, nullable=False),
        sa.Column("merged", sa.Text(), nullable=True),
        sa.Column("merged_sha256", JSON, nullable=True),
        sa.Column("labels", JSON, nullable=False),
        sa.Column("multi_label", sa.Boolean(), nullable=False),
        sa.Column("max_length", sa.Integer(), nullable=False),
        sa.Column("temperature", JSON, nullable=False),
        sa.Column("unsure_below", sa.Double(), nullable=True),
        sa.Column("metrics", JSON, nullable=False),
        sa.Column("reference", JSON, nullable=True),
        sa.Column("data_fingerprint", sa.Text(), nullable=True),
        sa.Column("data", sa.Text(), nullable=True),
        sa.Column("license", sa.Text(), nullable=True),
        sa.Column("language", sa.Text(), nullable=True),
        sa.Column("parent_version", sa.Integer(), nullable=True),
        sa.Column("libraries", JSON, nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(["model"], ["models.name"], name=op.f("fk_model_versions_models")),
        sa.PrimaryKeyConstraint("model", "version", name=op.f("pk_model_versions")),
    )
    op.create_table(
        "rejects",
        sa.Column("job_id", BIG_ID, nullable=False),
        sa.Column("row_number", BIG_ID, autoincrement=False, nullable=False),
        sa.Column("source_file", sa.Text(), nullable=True),
        sa.Column("line", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("raw", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_rejects_jobs")),
        sa.PrimaryKeyConstraint("job_id", "row_number", name=op.f("pk_rejects")),
    )
    op.create_index("ix_rejects_job_reason", "rejects", ["job_id", "reason"], unique=False)
    op.create_table(
        "corrections",
        sa.Column("id", BIG_ID, nullable=False),
        sa.Column("job_id", BIG_ID, nullable=False),
        sa.Column("row_number", BIG_ID, nullable=False),
        sa.Column("label", sa.Text(), nullable=False),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id", "row_number"],
            ["labeled_texts.job_id", "labeled_texts.row_number"],
            name="fk_corrections_labeled_texts",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_corrections")),
    )
    op.create_index(
        "ix_corrections_job_id_row_number", "corrections", ["job_id", "row_number"], unique=False
    )
    op.create_table(
        "engine_builds",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("engine", sa.Text(), nullable=False),
        sa.Column("engine_version", sa.Text(), nullable=False),
        sa.Column("cpu_features", sa.Text(), nullable=False),
        sa.Column("location", sa.Text(), nullable=False),
        sa.Column("sha256", JSON, nullable=False),
        sa.Column("agreement", sa.Double(), nullable=False),
        sa.Column("accuracy", sa.Double(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name="fk_engine_builds_model_versions",
        ),
        sa.PrimaryKeyConstraint(
            "model",
            "version",
            "engine",
            "engine_version",
            "cpu_features",
            name=op.f("pk_engine_builds"),
        ),
    )
    op.create_table(
        "model_aliases",
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("alias", sa.Text(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["model", "version"],
            ["model_versions.model", "model_versions.version"],
            name="fk_model_aliases_model_versions",
        ),
        sa.PrimaryKeyConstraint("model", "alias", name=op.f("pk_model_aliases")),
    )

    connection = op.get_bind()
    ledger = sa.table("ledger", sa.column("id"), sa.column("created_at"))
    connection.execute(ledger.insert().values(id=uuid.uuid4().hex, created_at=db_now()))
    connection.exec_driver_sql(current_labels(connection.dialect.name))
