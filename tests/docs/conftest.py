"""The site, built once; and the ground on which a page's commands run."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import URL, make_url

from tests.cluster import BIN, clean_environment
from tests.databases import fresh_database
from tests.deploy.compose import ROOT
from tests.docs.blocks import PAGES
from tests.docs.shell import Shell
from tests.pipeline.conftest import registry as registry
from tests.pipeline.conftest import starter_sqlite as starter_sqlite
from tests.services import administer, free_port, postgres_package

#: What the pages call the servers that a reader has.
REDIS = "redis://localhost:6379/0"
POSTGRES = "postgresql+psycopg://labelstream:secret@localhost"
RESTORED = "labelstream_restored"
METRICS_PORT = "9108"

#: A file of texts that a reader has.
TEXTS = "/srv/texts/2026-01-31.csv"

#: Pages on which a model has to compute; on the others a label is a function of the text alone.
REAL_LABELS = {"tutorial.md", "how-to/own-labels.md", "how-to/own-model.md"}

#: The page whose reader has nothing yet.
FROM_NOTHING = "tutorial.md"


@dataclass(frozen=True)
class Ground:
    """A shell in a folder like a clone of the project, and what the page's addresses are there."""

    shell: Shell
    addresses: dict[str, str]

    def run(self, command: str) -> tuple[int, str]:
        """Run a command of the page; return its status and what is shown."""
        return self.shell.run(self._placed(command))

    def leave_running(self, command: str) -> None:
        """Start a command of the page as in another terminal."""
        self.shell.leave_running(self._placed(command))

    def _placed(self, command: str) -> str:
        for said, real in self.addresses.items():
            command = command.replace(said, real)
        return command


@pytest.fixture
def ground(page: str, tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Ground]:
    for name in ("examples", "monitoring", "docker-compose.yml", ".env.example"):
        (tmp_path / name).symlink_to(ROOT / name)
    (tmp_path / ".venv").symlink_to(BIN.parent)
    if page != FROM_NOTHING:
        with_starter = request.getfixturevalue("starter_home")
        with_starter(tmp_path / ".labelstream")
    text = "\n".join(block.text for block in PAGES[page])
    addresses = {TEXTS: "examples/tweets.csv"}
    path = f"{BIN}:{os.environ['PATH']}"
    if REDIS in text:
        addresses[REDIS] = request.getfixturevalue("redis_url")
    if POSTGRES in text:
        addresses |= postgres_addresses(make_url(request.getfixturevalue("page_postgres")))
        path = f"{postgres_programs()}:{path}"
    if METRICS_PORT in text:
        addresses[METRICS_PORT] = str(free_port())
    shell = Shell(
        tmp_path,
        clean_environment(
            PATH=path,
            PYTHONPATH=str(ROOT),
            COLUMNS="120",
            LABELSTREAM_ENGINE="torch" if page in REAL_LABELS else "text-hash",
        ),
    )
    try:
        yield Ground(shell, addresses)
    finally:
        shell.close()


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """Build the site; return its folder and what was said meanwhile."""
    site = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", site],
        cwd=ROOT,
        # As `make docs` does: Material would speak of another tool, not of these pages.
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return site, done.stdout + done.stderr


@pytest.fixture
def page_postgres(postgres_server: str) -> Iterator[str]:
    """URL of an empty database, which the page makes its tables in; gone with the one beside it."""
    with fresh_database(postgres_server) as url:
        yield url
        beside = f"{make_url(url).database}_restored"
        administer(postgres_server, f"DROP DATABASE IF EXISTS {beside} WITH (FORCE)")


def postgres_addresses(url: URL) -> dict[str, str]:
    """Return what the pages say of PostgreSQL, the longest first, and what it is here."""
    beside = f"{url.database}_restored"
    found = {}
    for driver in ("postgresql+psycopg", "postgresql"):
        said = POSTGRES.replace("postgresql+psycopg", driver)
        for name, database in ((RESTORED, beside), ("labelstream", url.database)):
            real = url.set(drivername=driver, database=database)
            found[f"{said}/{name}"] = real.render_as_string(hide_password=False)
    return {**found, RESTORED: beside}


@pytest.fixture(scope="session")
def starter_home(starter_sqlite: str, registry: Path) -> Callable[[Path], None]:
    """Make a `HOME_DIR` in which the starter is registered and merged already."""

    def make(home: Path) -> None:
        home.mkdir(mode=0o700)
        shutil.copyfile(str(make_url(starter_sqlite).database), home / "labelstream.db")
        # Files of the registry never change: a second name will do.
        shutil.copytree(registry, home / "registry", copy_function=os.link)

    return make


def postgres_programs() -> str:
    """Return the folders of `pg_dump`, newest first: it comes with the tests' server, if that does."""
    try:
        package = Path(postgres_package().__file__ or "").parent
    except ImportError:
        return ""
    return ":".join(sorted(map(str, package.glob("pginstall*/bin")), reverse=True))
