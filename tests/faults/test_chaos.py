"""A minute of chaos from a fixed seed, and the schedule that it is drawn from.

`make chaos` goes on for ten minutes.
"""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.schedule import KINDS, Event, schedule

ROOT = Path(__file__).parents[2]

VICTIMS = {
    "worker": ["worker 1", "worker 2"],
    "producer": ["file producer", "stream producer"],
    "redis": ["redis"],
    "source": ["source"],
    "database": ["database"],
}


def drawn(seed: int, seconds: float = 600.0) -> list[Event]:
    return schedule(KINDS, VICTIMS, seed=seed, seconds=seconds, clock=1.0)


def test_the_same_seed_is_the_same_schedule() -> None:
    assert drawn(1) == drawn(1)
    assert drawn(1) != drawn(2)


@pytest.mark.parametrize("seed", range(20))
def test_everything_comes_before_anything_comes_again(seed: int) -> None:
    events = drawn(seed)
    whom = {victim: kind for kind, victims in VICTIMS.items() for victim in victims}
    happened = [(whom[event.victim], event.what) for event in events]
    assert len(happened) > 100
    first = happened[: len(KINDS)]
    assert len(set(first)) == len(KINDS)
    assert {(kind.whom, kind.name) for kind in KINDS} == set(first)


@pytest.mark.parametrize("seed", range(20))
def test_nobody_is_struck_while_he_is_down(seed: int) -> None:
    down_until: dict[str, float] = {}
    for event in drawn(seed):
        assert event.at >= down_until.get(event.victim, 0.0)
        assert event.until >= event.at
        down_until[event.victim] = event.until


def test_a_minute_of_chaos_makes_no_difference() -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.faults.chaos"),
            *("--seconds", "60", "--seed", "1", "--clock", "0.25"),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = done.stdout.splitlines()
    assert lines[-1] == "no difference"
    assert sum(" is " in line for line in lines if line.startswith("[")) >= len(KINDS)
    counted = [line for line in lines if line.endswith("; all right")]
    assert len([line for line in counted if line.startswith("file producer")]) > 1
    assert len([line for line in counted if line.startswith("stream producer")]) == 1
