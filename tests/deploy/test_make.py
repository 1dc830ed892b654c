"""The Makefile and the run of continuous integration: the targets that people are told of."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = {
    "setup",
    "lint",
    "test",
    "faults",
    "chaos",
    "bench",
    "demo",
    "docs",
    "lock",
    "clean",
    "help",
}


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    # `make test` tells a make below it its level, and that one then says more.
    surroundings = {
        name: value for name, value in os.environ.items() if name not in ("MAKELEVEL", "MAKEFLAGS")
    }
    return subprocess.run(
        ["make", *arguments],
        cwd=ROOT,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )


def test_the_targets_are_these_and_help_names_each() -> None:
    phony = re.search(r"^\.PHONY: (.+)$", MAKEFILE, re.MULTILINE)
    assert phony is not None
    assert set(phony[1].split()) == TARGETS
    lines = make("help").stdout.splitlines()
    assert {line.split()[1] for line in lines} == TARGETS


@pytest.mark.parametrize("target", ["lint", "test", "faults", "chaos", "demo", "docs", "lock"])
def test_what_needs_the_environment_sets_it_up_first(target: str) -> None:
    assert re.search(rf"^{target}: setup ", MAKEFILE, re.MULTILINE)
    assert "--constraint constraints.txt --editable '.[dev]'" in MAKEFILE


def test_the_demo_shuts_out_every_setting_of_its_surroundings() -> None:
    recipe = make("--dry-run", "--always-make", "demo").stdout
    assert "unset ${!LABELSTREAM_*}" in recipe
    # A .env file is read too: it yields only to what is set, be it empty.
    for name in ("BROKER_URL", "DATABASE_URL", "REGISTRY_DIR", "HOME_DIR", "MODEL"):
        assert f"LABELSTREAM_{name}=" in recipe


def test_without_a_python_that_fits_set_up_says_so_in_one_line(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path / name)
    program = shutil.which("make")
    assert program is not None
    done = subprocess.run(
        [program, "setup"], cwd=tmp_path, env={"PATH": "/nowhere"},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]
    assert len(said) == 1, done.stderr
    assert "install one of them" in said[0]
    assert not (tmp_path / ".venv").exists()


def test_continuous_integration_lints_and_tests() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    assert script.read_text().splitlines()[-2:] == ["make lint", "make test"]
    subprocess.run(["bash", "-n", script], check=True, timeout=10)


def test_constraints_pin_every_package_exactly_and_no_build_of_it() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    assert "make lock" in lines[0]
    for line in lines[1:]:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.]+", line), line
    assert "torch==2.13.0" in lines
