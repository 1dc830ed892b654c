"""The commands of `producer.looking`, run in this process as a shell would see them."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer

from db.errors import run_command
from db.settings import get_settings
from producer.looking import add_commands


@dataclass(frozen=True)
class Result:
    """What a command left behind."""

    status: int
    raw: bytes
    err: str

    @property
    def out(self) -> str:
        return self.raw.decode()


class Command:
    """Runs `producer ARGUMENTS` on one database."""

    def __init__(self, capture: pytest.CaptureFixture[bytes]) -> None:
        self._capture = capture

    def __call__(self, *arguments: str | int | Path) -> Result:
        app = typer.Typer(add_completion=False, pretty_exceptions_enable=False)
        add_commands(app)

        def run(**_: object) -> object:
            return app([str(argument) for argument in arguments], standalone_mode=False)

        self._capture.readouterr()
        with pytest.raises(SystemExit) as ended:
            run_command(run)  # type: ignore[arg-type]
        raw, err = self._capture.readouterr()
        assert isinstance(ended.value.code, int)
        return Result(ended.value.code, raw, err.decode())


@contextmanager
def command_on(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[bytes]
) -> Iterator[Command]:
    """Point the settings at a database, with `folder` as working folder."""
    monkeypatch.chdir(folder)
    monkeypatch.setenv("LABELSTREAM_DATABASE_URL", url)
    monkeypatch.delenv("LABELSTREAM_BROKER_URL", raising=False)
    get_settings.cache_clear()
    yield Command(capture)
    get_settings.cache_clear()
