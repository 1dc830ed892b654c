"""Fresh databases on a PostgreSQL server, each dropped when its test is over."""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import make_url

from tests.services import administer


@contextmanager
def fresh_database(server: str, template: str | None = None) -> Iterator[str]:
    """Make a database on `server`, a copy of `template` if that URL is given; give its URL."""
    name = f"labelstream_test_{uuid.uuid4().hex}"
    source = f" TEMPLATE {make_url(template).database}" if template else ""
    administer(server, f"CREATE DATABASE {name}{source}")
    try:
        yield make_url(server).set(database=name).render_as_string(hide_password=False)
    finally:
        administer(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")
