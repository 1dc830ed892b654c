"""Corrections can be withdrawn, and say how their rows were chosen."""

import sqlalchemy as sa
from alembic import op

from db.clock import UtcDateTime
from db.migrations.views import current_labels_without_withdrawn

revision = "0005"
down_revision = "0004"

_KEEP = "CREATE TEMP TABLE kept AS SELECT * FROM corrections"
_BRING_BACK = """
INSERT INTO corrections (id, job_id, row_number, label, annotator, at)
SELECT id, job_id, row_number, label, annotator, at FROM kept ORDER BY id
"""


def upgrade() -> None:
    connection = op.get_bind()
    # The view first, as whoever reads it locks the two. It needs nothing of what comes.
    for statement in current_labels_without_withdrawn(connection.dialect.name):
        connection.exec_driver_sql(statement)
    if connection.dialect.name == "postgresql":
        op.alter_column("corrections", "label", existing_type=sa.Text(), nullable=True)
        op.add_column("corrections", sa.Column("strategy", sa.Text(), nullable=True))
    else:
        _make_anew(connection)


def _make_anew(connection: sa.Connection) -> None:
    """Make the table anew around what it holds: SQLite makes no column nullable in place.

    Under its own name, and not renamed at last as Alembic does it, which SQLite refuses while there
    is a view, perhaps somebody's own, that reads the table.
    """
    connection.exec_driver_sql(_KEEP)
    op.drop_table("corrections")
    op.create_table(
        "corrections",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("row_number", sa.Integer(), nullable=False),
        sa.Column("label", sa.Text(), nullable=True),
        sa.Column("annotator", sa.Text(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("strategy", sa.Text(), nullable=True),
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
    connection.exec_driver_sql(_BRING_BACK)
    connection.exec_driver_sql("DROP TABLE temp.kept")
