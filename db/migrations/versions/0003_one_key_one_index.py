"""Indexes of `labeled_texts`: each row under the key that it has, and under no other."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    _index("ix_labeled_texts_id_key", ["external_id", "id_scope", "model"], "IS NOT NULL")
    _index("ix_labeled_texts_text_key", ["text_hash", "model"], "IS NULL")
    op.drop_index("ix_labeled_texts_external_id", "labeled_texts")
    op.drop_index("ix_labeled_texts_scope", "labeled_texts")
    op.drop_index("ix_labeled_texts_text_hash", "labeled_texts")


def _index(name: str, columns: list[str], external_id: str) -> None:
    rows = sa.text(f"external_id {external_id}")
    op.create_index(name, "labeled_texts", columns, postgresql_where=rows, sqlite_where=rows)
