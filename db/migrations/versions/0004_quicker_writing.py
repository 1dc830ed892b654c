"""What writing costs: a labelled row has an index fewer, and its job is not asked for; a chunk is found
by its key, not by when it was done."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

_DONE = "ix_chunks_job_id_done_at"
_CONFIDENCE = "ix_labeled_texts_job_confidence"


def upgrade() -> None:
    on_postgres = op.get_context().dialect.name == "postgresql"
    if on_postgres:
        # All at once and first: who works meanwhile holds one and waits for another, and a deadlock
        # found at the end would undo the work on the indexes.
        op.execute("LOCK TABLE jobs, chunks, labeled_texts IN ACCESS EXCLUSIVE MODE")
    done = sa.text("done_at IS NOT NULL")
    op.drop_index(_DONE, "chunks")
    op.create_index(
        _DONE, "chunks", ["job_id", "done_at"], postgresql_where=done, sqlite_where=done
    )
    op.drop_index("ix_labeled_texts_job_label", "labeled_texts")
    op.drop_index(_CONFIDENCE, "labeled_texts")
    op.create_index(_CONFIDENCE, "labeled_texts", ["job_id", "confidence", "label"])
    if on_postgres:
        op.drop_constraint("fk_labeled_texts_jobs", "labeled_texts", type_="foreignkey")
