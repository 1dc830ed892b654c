"""Corrections can be withdrawn, and say how their rows were chosen."""

import sqlalchemy as sa
from alembic import op

from db.migrations.views import current_labels_without_withdrawn

revision = "0005"
down_revision = "0004"


def upgrade() -> None:
    connection = op.get_bind()
    strategy = sa.Column("strategy", sa.Text(), nullable=True)
    if connection.dialect.name == "postgresql":
        # The view first, as whoever reads it locks the two. It needs nothing of what comes.
        [replace] = current_labels_without_withdrawn("postgresql")
        connection.exec_driver_sql(replace)
        op.alter_column("corrections", "label", existing_type=sa.Text(), nullable=True)
        op.add_column("corrections", strategy)
        return
    # SQLite makes a column nullable in a copy of the table, and renames none that a view reads.
    drop, create = current_labels_without_withdrawn("sqlite")
    connection.exec_driver_sql(drop)
    with op.batch_alter_table("corrections") as corrections:
        corrections.alter_column("label", existing_type=sa.Text(), nullable=True)
        corrections.add_column(strategy)
    connection.exec_driver_sql(create)
