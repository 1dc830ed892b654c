"""PostgreSQL no longer asks of each labelled row whether its job is there."""

from alembic import op

revision = "0004"
down_revision = "0003"


def upgrade() -> None:
    if op.get_context().dialect.name == "postgresql":
        op.drop_constraint("fk_labeled_texts_jobs", "labeled_texts", type_="foreignkey")
