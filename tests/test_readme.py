"""What the README names exists, and what exists the README names."""

import importlib
import re
from pathlib import Path
from typing import Any

import pytest
import typer.main

from db.schema import Base
from db.settings import Settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: The entry of each command line.
APPS = {"producer": "producer.cli", "training": "training.cli", "python -m db": "db.__main__"}

#: Those of one command alone.
SINGLE_APPS = {"python -m dashboard": "dashboard.__main__"}


def commands() -> dict[str, Any]:
    """Every command by its full name, such as `producer ingest`."""
    found: dict[str, Any] = {}
    for name, module in APPS.items():
        found |= below(name, typer.main.get_command(importlib.import_module(module).app))
    for name, module in SINGLE_APPS.items():
        found[name] = typer.main.get_command(importlib.import_module(module).app)
    return found


def below(name: str, group: Any) -> dict[str, Any]:
    """The commands of a group and of the groups in it, each by its full name."""
    found: dict[str, Any] = {}
    for child, command in group.commands.items():
        full = f"{name} {child}"
        found |= below(full, command) if hasattr(command, "commands") else {full: command}
    return found


COMMANDS = commands()


def options(command: Any) -> set[str]:
    """The long options of a command, `--help` left out."""
    return {
        option
        for parameter in command.params
        for option in [*parameter.opts, *parameter.secondary_opts]
        if option.startswith("--") and option != "--help"
    }


def section(name: str) -> str:
    """What the README says of one command: its own section, or its line of a table."""
    if name == "producer ingest":
        return README.split("### `producer ingest SOURCE…`")[1].split("\n### ")[0]
    lines = [line for line in README.splitlines() if re.match(rf"\| `{name}[ `]", line)]
    assert len(lines) == 1, f"the README has {len(lines)} lines for {name}"
    return lines[0]


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_and_its_options_stand_in_the_readme_and_no_others(name: str) -> None:
    named = set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", section(name)))
    if name == "producer ingest":
        # Said of the whole job, in words around the table.
        named |= {"--wait", "--store-text"} & options(COMMANDS[name])
    assert named == options(COMMANDS[name])


def test_every_command_that_the_readme_names_exists() -> None:
    named = set(re.findall(r"`?\b(producer|training) ([a-z]+)\b", README))
    words = {f"{program} {command}" for program, command in named}
    in_code = {word for word in words if re.search(rf"[`$/] ?(\.venv/bin/)?{word}\b", README)}
    assert in_code <= {" ".join(name.split()[:2]) for name in COMMANDS}


def test_every_setting_stands_in_the_readme_and_no_other() -> None:
    named = set(re.findall(r"LABELSTREAM_([A-Z_]+)", README))
    tests_only = {"TEST_REDIS_URL", "TEST_DATABASE_URL"}
    assert named - tests_only == {name.upper() for name in Settings.model_fields}


def test_every_table_stands_in_the_readme_and_no_other() -> None:
    tables = README.split("## Tables")[1].split("\n## ")[0]
    rows = [line.split("|")[1] for line in tables.splitlines() if line.startswith("| `")]
    named = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert named == {*Base.metadata.tables, "current_labels", "alembic_version"}


def test_every_column_of_the_results_stands_in_the_readme() -> None:
    line = next(line for line in README.splitlines() if line.startswith("| `labeled_texts`"))
    columns = {column.name for column in Base.metadata.tables["labeled_texts"].columns}
    assert columns <= set(re.findall(r"`(\w+)`", line))


def test_every_file_that_the_readme_links_exists() -> None:
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target


def test_every_make_target_that_is_named_exists() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in set(re.findall(r"`make (\w+)`|\$ make (\w+)", README)):
        name = next(part for part in target if part)
        assert re.search(rf"^{name}:", makefile, re.MULTILINE), name


def test_every_query_of_the_examples_stands_in_the_readme() -> None:
    for query in sorted((ROOT / "examples" / "queries").glob("*.sql")):
        assert query.read_text(encoding="utf-8").strip() in README, query.name
