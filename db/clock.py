"""The database's clock, in the same form on SQLite and PostgreSQL.

All times of the ledger are taken from the database, so that producers and workers whose own clocks
disagree still agree about leases.
"""

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import DateTime, Double, literal
from sqlalchemy.engine import Dialect
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeDecorator


class UtcDateTime(TypeDecorator[datetime]):
    """A time with zone, always UTC; SQLite keeps it as text, `2026-01-31 12:00:00.000000`."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn an aware time into what the database keeps."""
        if value is None:
            return None
        if value.tzinfo is None:
            raise ValueError("a time without zone cannot be stored")
        value = value.astimezone(UTC)
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        """Turn what the database keeps into an aware time."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class db_now(FunctionElement[datetime]):  # noqa: N801
    """The database's time now, plus `seconds` (may be negative), as an SQL expression."""

    type = UtcDateTime()
    # The seconds are a bound parameter, so that statements are compiled once for all of them.
    inherit_cache = True

    def __init__(self, seconds: float = 0.0) -> None:
        super().__init__(*([literal(float(seconds), Double())] if seconds else []))


@compiles(db_now, "sqlite")
def _sqlite_now(element: db_now, compiler: SQLCompiler, **options: Any) -> str:
    # The six digits and the blank are SQLAlchemy's own form of a stored time, so that a time
    # written here and one bound from Python compare as text.
    seconds = compiler.process(element.clauses, **options)
    later = f", {seconds} || ' seconds'" if seconds else ""
    return f"(strftime('%Y-%m-%d %H:%M:%f', 'now'{later}) || '000')"


@compiles(db_now, "postgresql")
def _postgresql_now(element: db_now, compiler: SQLCompiler, **options: Any) -> str:
    # Not now(): it is the start of the transaction, and waiting for a lock takes time.
    seconds = compiler.process(element.clauses, **options)
    return (
        f"(clock_timestamp() + make_interval(secs => {seconds}))"
        if seconds
        else ("clock_timestamp()")
    )
