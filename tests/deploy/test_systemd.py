"""The unit for systemd: it restarts the worker for ever, soon, and gives it the time to leave."""

import configparser
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.deploy.compose import ROOT

UNIT = ROOT / "examples" / "labelstream-worker.service"


@pytest.fixture(scope="module")
def unit() -> configparser.ConfigParser:
    parser = configparser.ConfigParser(strict=False, interpolation=None)
    parser.optionxform = str  # type: ignore[assignment,method-assign]
    parser.read_string(UNIT.read_text())
    return parser


def test_a_worker_that_ends_is_started_again_within_ten_seconds_for_ever(
    unit: configparser.ConfigParser,
) -> None:
    assert unit["Service"]["Restart"] == "always"
    assert 0 < float(unit["Service"]["RestartSec"]) <= 10
    assert unit["Unit"]["StartLimitIntervalSec"] == "0"


def test_it_runs_the_worker_and_gives_it_more_than_the_30_s_in_which_it_leaves(
    unit: configparser.ConfigParser,
) -> None:
    program, *arguments = unit["Service"]["ExecStart"].split()
    assert Path(program).is_absolute()
    assert [Path(program).name, *arguments] == ["celery", "-A", "worker", "worker"]
    assert float(unit["Service"]["TimeoutStopSec"]) > 30
    assert "KillSignal" not in unit["Service"], "TERM is what the worker drains on"


def test_no_secret_stands_in_it(unit: configparser.ConfigParser) -> None:
    assert unit["Service"]["EnvironmentFile"] == "/etc/labelstream.env"
    assert "URL=" not in "".join(
        line for line in UNIT.read_text().splitlines() if not line.startswith("#")
    )


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is missing")
def test_systemd_understands_every_line_of_it(tmp_path: Path) -> None:
    # What it names need not exist here, but for the program.
    program = shutil.which("true")
    lines = [
        f"ExecStart={program}" if line.startswith("ExecStart=") else line
        for line in UNIT.read_text().splitlines()
    ]
    copy = tmp_path / UNIT.name
    copy.write_text("\n".join(lines))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", str(copy)],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    # It may have things to say of the machine's own units.
    assert [line for line in done.stderr.splitlines() if UNIT.name in line] == []
