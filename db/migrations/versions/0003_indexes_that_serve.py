"""Indexes of `labeled_texts`: a row under the key that it has and no other, and labels over time."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_TIME = "ix_labeled_texts_version_time"


def upgrade() -> None:
    _index("ix_labeled_texts_id_key", ["external_id", "id_scope", "model"], "IS NOT NULL")
    _index("ix_labeled_texts_text_key", ["text_hash", "model"], "IS NULL")
    op.drop_index("ix_labeled_texts_external_id", "labeled_texts")
    op.drop_index("ix_labeled_texts_scope", "labeled_texts")
    op.drop_index("ix_labeled_texts_text_hash", "labeled_texts")
    op.drop_index(_TIME, "labeled_texts")
    op.create_index(_TIME, "labeled_texts", ["model", "model_version", "labeled_at", "label"])
    if op.get_context().dialect.name == "postgresql":
        # Without it PostgreSQL takes every row for a day of its own, and counts days on one core.
        op.execute("CREATE STATISTICS labeled_texts_day ON (date(labeled_at)) FROM labeled_texts")


def _index(name: str, columns: list[str], external_id: str) -> None:
    rows = sa.text(f"external_id {external_id}")
    op.create_index(name, "labeled_texts", columns, postgresql_where=rows, sqlite_where=rows)
