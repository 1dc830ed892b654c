"""The commands of `producer.looking`, run in this process as a shell would see them."""

import signal
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
        # What a command does with signals is for a process of its own, and this is not one.
        before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            with pytest.raises(SystemExit) as ended:
                run_command(run)  # type: ignore[arg-type]
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)
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
