"""Connections to PostgreSQL that really break, at a chosen moment."""

from typing import Any

import psycopg
from sqlalchemy import Connection, event, make_url

from db.store import Store


class Breaking:
    """Breaks the store's connection once: the backend is ended, as when a server restarts."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.broken = 0

    def end_backend(self, connection: Connection) -> None:
        driver = connection.connection.driver_connection
        assert isinstance(driver, psycopg.Connection)
        plain = make_url(self._store.url).set(drivername="postgresql")
        url = plain.render_as_string(hide_password=False)
        with psycopg.connect(url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s)", (driver.info.backend_pid,))
        self.broken += 1

    def before(self, statement_begins: str) -> None:
        """Break before the first statement that begins so."""

        def hook(connection: Connection, _: Any, statement: str, *more: Any) -> None:
            if not self.broken and statement.startswith(statement_begins):
                self.end_backend(connection)

        event.listen(self._store.engine, "before_cursor_execute", hook)

    def after(self, statement_begins: str) -> None:
        """Break after the first statement that begins so, whatever the driver does next."""

        def hook(connection: Connection, _: Any, statement: str, *more: Any) -> None:
            if not self.broken and statement.startswith(statement_begins):
                self.end_backend(connection)

        event.listen(self._store.engine, "after_cursor_execute", hook)

    def after_commit_of(self, statement_begins: str) -> None:
        """Break after the commit that follows such a statement, before its answer arrives."""
        seen: list[str] = []

        def note(_: Connection, __: Any, statement: str, *more: Any) -> None:
            seen.append(statement)

        def hook(connection: Connection) -> None:
            if not self.broken and any(text.startswith(statement_begins) for text in seen):
                driver = connection.connection.driver_connection
                assert isinstance(driver, psycopg.Connection)
                driver.execute("COMMIT")
                # The driver believes the transaction to be open, and will miss the answer.
                driver.execute("BEGIN")
                self.end_backend(connection)

        event.listen(self._store.engine, "before_cursor_execute", note)
        event.listen(self._store.engine, "commit", hook)
