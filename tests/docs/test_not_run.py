"""Blocks that no test runs: few, each with its reason, and what they name exists."""

import re
import shlex
import subprocess
import sys
import tomllib
from typing import Any

import pytest

from db.settings import Settings
from tests.deploy.compose import BASE, GPU, ROOT, load
from tests.docs.blocks import PAGES, RUN, SHOWN, Block
from tests.test_readme import COMMANDS, options

BLOCKS = [block for blocks in PAGES.values() for block in blocks]
NOT_RUN = [block for block in BLOCKS if block.not_run is not None]

#: Programs that are not ours: what they are given is theirs.
OTHERS = {"airflow", "cd", "cp", "crontab", "mkdir", "pytest", "python3.11"}

#: Commands of compose that the pages use, and whether what follows their options is a service.
COMPOSE = {
    "up": True,
    "run": True,
    "exec": True,
    "logs": True,
    "cp": False,
    "down": False,
    "build": True,
}


def test_every_block_is_run_or_shown() -> None:
    for block in BLOCKS:
        assert block.language in RUN | SHOWN, block.place


def test_what_is_not_run_has_a_reason_and_is_little() -> None:
    for block in NOT_RUN:
        assert len((block.not_run or "").split()) >= 3, block.place
        assert block.language == "console", block.place
    run = sum(block.language in RUN and block.not_run is None for block in BLOCKS)
    assert 0 < 4 * len(NOT_RUN) <= run


@pytest.mark.parametrize("block", NOT_RUN, ids=lambda block: block.place)
def test_what_is_named_in_a_block_that_is_not_run_exists(block: Block) -> None:
    for command, _ in block.commands():
        words = shlex.split(command)
        while setting := re.fullmatch(r"LABELSTREAM_(\w+)=.*", words[0]):
            known = setting[1].lower() in Settings.model_fields
            assert known or setting[1].startswith("TEST_"), command
            words = words[1:]
        program, *rest = words
        program = program.removeprefix(".venv/bin/")
        for file in re.findall(r"(?<![\w/])(?:examples|tests)/\S+", command):
            assert (ROOT / file).exists(), file
        if program in OTHERS:
            continue
        CHECKS[program](rest)


def check_compose(words: list[str]) -> None:
    assert words.pop(0) == "compose"
    files, profiles = [BASE], set()
    while words[0].startswith("-"):
        option, value = words.pop(0), words.pop(0)
        if option == "-f":
            assert ROOT / value in (BASE, GPU), value
            files.append(ROOT / value)
        else:
            assert option == "--profile", option
            profiles.add(value)
    services: dict[str, Any] = load(*files)["services"]
    assert profiles <= {name for each in services.values() for name in each.get("profiles", [])}
    command, *rest = words
    for scaled in re.findall(r"(\w+)=\d+", " ".join(rest)):
        assert scaled in services
    named = [word for word in rest if not word.startswith("-") and "=" not in word]
    if command == "cp":
        assert named[0].split(":")[0] in services, named[0]
    if COMPOSE[command] and named:
        assert named[0] in services, named[0]
        if services[named[0]].get("entrypoint") == ["producer"]:
            check_ours("producer")(named[1:])


def check_celery(words: list[str]) -> None:
    assert words.pop(0) == "-A"
    app = words.pop(0)
    assert any((ROOT / folder / f"{app}.py").is_file() for folder in ("", "examples/scheduling"))
    assert words[0] in {"worker", "beat"}


def check_make(words: list[str]) -> None:
    subprocess.run(["make", "--dry-run", *words], cwd=ROOT, check=True, capture_output=True)


def check_python(words: list[str]) -> None:
    assert words[0] == "-m"
    told = subprocess.run(
        [sys.executable, "-m", words[1], "--help"], cwd=ROOT,
        check=True, capture_output=True, text=True, timeout=120,
    ).stdout  # fmt: skip
    for option in options_of(words[2:]):
        assert option in told, option


def check_pip(words: list[str]) -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"][
        "optional-dependencies"
    ]
    assert set(re.findall(r"\[(\w+)\]", " ".join(words))) <= set(extras)


def check_ours(program: str) -> Any:
    def check(words: list[str]) -> None:
        command = COMMANDS[f"{program} {words[0]}"]
        assert options_of(words) <= options(command), words

    return check


def options_of(words: list[str]) -> set[str]:
    return {word.split("=")[0] for word in words if word.startswith("--")}


CHECKS = {
    "celery": check_celery,
    "docker": check_compose,
    "make": check_make,
    "pip": check_pip,
    "producer": check_ours("producer"),
    "python": check_python,
    "training": check_ours("training"),
}
