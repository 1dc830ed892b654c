"""Tables that are missing, older or newer than the code: one line from every command, and how to go on."""

import subprocess
from pathlib import Path

import pytest

from db.migrate import upgrade
from db.store import Store
from tests.cluster import BIN, clean_environment
from tests.db.ledger_parts import change

NEWER = "was migrated by a newer Labelstream (revision 9999); update this installation"
OLDER = "has older tables; run: python -m db upgrade"
NONE = "has no tables yet; run: python -m db upgrade"


def database(folder: Path, says: str) -> str:
    """Make an SQLite file of which each command must say so."""
    store = Store(f"sqlite:///{folder / 'store.db'}")
    store.check()
    if says != NONE:
        upgrade(store)
        revision = "9999" if says == NEWER else "0001"
        change(store, "UPDATE alembic_version SET version_num = :revision", revision=revision)
    store.close()
    return store.url


@pytest.mark.parametrize("says", [NONE, OLDER, NEWER])
def test_every_command_says_so_in_one_line(tmp_path: Path, redis_url: str, says: str) -> None:
    (tmp_path / "rows.csv").write_text("text\none\n")
    url = database(tmp_path, says)
    environment = clean_environment(
        LABELSTREAM_DATABASE_URL=url,
        LABELSTREAM_BROKER_URL=redis_url,
        LABELSTREAM_HOME_DIR=str(tmp_path / "home"),
    )
    commands = (
        ("producer", "ingest", "rows.csv", "--no-wait"),
        ("producer", "status"),
        ("training", "versions"),
        ("celery", "-A", "worker", "worker"),
    )
    processes = [
        subprocess.Popen(
            [BIN / command[0], *command[1:]],
            env=environment,
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for command in commands
    ]
    for command, process in zip(commands, processes, strict=True):
        out, err = process.communicate(timeout=120)
        assert (process.returncode, out) == (2, ""), (command, err)
        # Celery itself has something to say about who runs it.
        errors = [line for line in err.splitlines() if line.startswith("error: ")]
        assert errors == [f"error: database {url} {says}"], command
        assert "Traceback" not in err, command
