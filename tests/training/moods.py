"""Small labelled data that a tiny base learns in a second, and `training` in this process."""

import contextlib
import io
import os
import random
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest
import torch

from db.settings import Settings, get_settings
from tests.tiny_models import WORDS
from tests.training.test_fit import Run
from training.cli import main

#: The words that tell a label; all others of a text say nothing.
TOLD_BY = {
    "calm": ("calm", "home", "sun"),
    "cross": ("angry", "hate", "bad"),
    "afraid": ("fear", "night", "rain"),
}
LABELS = tuple(TOLD_BY)

#: What makes `distilbert` of `tiny_base(spread=0.1)` learn that.
QUICK = ("--epochs", 10, "--batch-size", 16, "--max-length", 16, "--learning-rate", 0.01)


class Texts:
    """Gives texts of a mood, none of them twice."""

    def __init__(self, seed: int = 1) -> None:
        self._chance = random.Random(seed)
        self._given: set[str] = set()

    def of(self, mood: str) -> str:
        """Return a new text with one word of `mood`."""
        while True:
            words = [self._chance.choice(WORDS[:14]) for _ in range(self._chance.randint(2, 5))]
            words.insert(self._chance.randrange(len(words) + 1), self._chance.choice(TOLD_BY[mood]))
            text = " ".join(words)
            if text not in self._given:
                self._given.add(text)
                return text


#: A text, and the label that the data gives it.
LabelledText = tuple[str, str]


def mood_rows(texts: Texts, count: int, *, wrong_one_in: int = 8) -> list[LabelledText]:
    """Return rows of all moods by turns; every so many of them has the label of the next mood."""
    rows = []
    for number in range(count):
        mood = LABELS[number % len(LABELS)]
        wrong = number % wrong_one_in == wrong_one_in - 1
        rows.append((texts.of(mood), LABELS[(number + wrong) % len(LABELS)]))
    return rows


def write_splits(folder: Path, **splits: list[LabelledText]) -> Path:
    """Write a data set; returns `folder`."""
    folder.mkdir()
    for split, rows in splits.items():
        lines = "".join(f"{text};{label}\n" for text, label in rows)
        (folder / f"{split}.txt").write_text(lines, encoding="utf-8")
    return folder


def read_rows(file: Path) -> list[LabelledText]:
    """Return the rows of a file of `write_splits`."""
    pairs = (line.rpartition(";") for line in file.read_text(encoding="utf-8").splitlines())
    return [(text, label) for text, _, label in pairs]


def settings_of(home: Path, **given: str) -> Settings:
    """Return the settings of `home`, as the commands have them there."""
    return Settings(_env_file=None, home_dir=home, device="cpu", **given)  # type: ignore[arg-type]


def training_in(home: Path, *arguments: object, **settings: str) -> Run:
    """Run the `training` command on `home`, in this process: another one would import torch anew.

    `settings` are further ones, such as `engine="constant"`.
    """
    given = {"home_dir": str(home), "device": "cpu", **settings}
    environment = {f"LABELSTREAM_{name.upper()}": value for name, value in given.items()}
    # Bytes are written to them too, as to a terminal's.
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="utf-8") for _ in range(2))
    with (
        _environment({**environment, "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}),
        _arguments("training", *map(str, arguments)),
        one_torch_thread(),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
        pytest.raises(SystemExit) as end,
    ):
        main()
    assert isinstance(end.value.code, int)
    return Run(end.value.code, _written(out), _written(err))


def said(home: Path, *arguments: object, **settings: str) -> str:
    """Return what a command that must succeed says on stdout."""
    done = training_in(home, *arguments, **settings)
    assert done.status == 0, done.stderr
    return done.stdout


def refused(home: Path, *arguments: object, **settings: str) -> str:
    """Return the one line that a command says which must find its arguments unusable."""
    done = training_in(home, *arguments, **settings)
    assert (done.status, done.stdout) == (2, ""), done
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    assert lines[0].startswith("error: ")
    return lines[0].removeprefix("error: ")


@contextlib.contextmanager
def one_torch_thread() -> Iterator[None]:
    """Let torch compute by one thread: so little work is done soonest so, above all beside others."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@contextlib.contextmanager
def _environment(values: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in values}
    os.environ.update(values)
    get_settings.cache_clear()
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        get_settings.cache_clear()


@contextlib.contextmanager
def _arguments(*arguments: str) -> Iterator[None]:
    before, sys.argv = sys.argv, list(arguments)
    try:
        yield
    finally:
        sys.argv = before


def _written(stream: io.TextIOWrapper) -> str:
    stream.flush()
    assert isinstance(stream.buffer, io.BytesIO)
    return stream.buffer.getvalue().decode()
