"""Run the SQL on standard input on the store of the settings, and print its rows as `sqlite3` does."""

import sys

from sqlalchemy import create_engine

from db.settings import get_settings

engine = create_engine(get_settings().store_url, isolation_level="AUTOCOMMIT")
with engine.connect() as connection:
    found = connection.exec_driver_sql(sys.stdin.read())
    for row in found if found.returns_rows else ():
        print("|".join("" if value is None else str(value) for value in row))
engine.dispose()
