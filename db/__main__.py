"""`python -m db upgrade`: bring the database to this version's tables."""

from typing import Annotated

import typer

from db.errors import run_command

app = typer.Typer(add_completion=False, no_args_is_help=True, help=__doc__)


@app.callback()
def _commands() -> None:
    """Care for the database that LABELSTREAM_DATABASE_URL names (default: SQLite in HOME_DIR)."""


@app.command()
def upgrade(
    check: Annotated[
        bool, typer.Option("--check", help="Change nothing; fail if a migration is missing.")
    ] = False,
) -> None:
    """Migrate the database, however old, to this version's tables."""
    from db.migrate import check_revision, newest_revision
    from db.migrate import upgrade as upgrade_store
    from db.settings import get_settings, open_home
    from db.store import open_store

    settings = get_settings()
    if settings.database_url is None:
        open_home(settings)
    store = open_store(settings)
    store.check()
    if check:
        check_revision(store)
        done = "up to date"
    else:
        done = "migrated" if upgrade_store(store) else "already up to date"
    typer.echo(f"{store.name}: {done} (revision {newest_revision()})")


def main() -> None:
    """Run `python -m db`."""
    run_command(app)


if __name__ == "__main__":
    main()
