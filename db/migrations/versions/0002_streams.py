"""What streams need: how a job is read, whether another producer may go on, who a worker is."""

import sqlalchemy as sa
from alembic import op

from db.clock import UtcDateTime

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    op.add_column("jobs", sa.Column("stream", sa.Text(), nullable=True))
    op.add_column(
        "jobs", sa.Column("continues", sa.Boolean(), nullable=False, server_default=sa.true())
    )
    op.add_column("workers", sa.Column("process", sa.Text(), nullable=True))
    op.add_column("stream_entries", sa.Column("entered_at", UtcDateTime(), nullable=True))
    op.create_index("ix_stream_entries_entered_at", "stream_entries", ["entered_at"], unique=False)
    op.create_index("ix_chunks_job_id_done_at", "chunks", ["job_id", "done_at"], unique=False)
