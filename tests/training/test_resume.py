"""A fit that is killed goes on with --resume, and ends as if nothing had been."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from db.errors import LabelstreamError, UsageError
from tests.training.test_fit import TINY, one_thread, training, write_data
from training.data import read_data
from training.fit import fit
from training.fit_config import FitConfig
from training.fit_state import STATE_FILE, FitStateFile

__all__ = ["one_thread"]

#: `training`, which saves after every step and is killed with -9 within the save of a number.
KILLED = """
import os, signal, sys
import training.fit, training.fit_state
from training.cli import main

training.fit.SAVE_SECONDS = -1.0
saves, last = 0, int(sys.argv.pop(1))
replace = training.fit_state.Path.replace

def counted(path, target):
    global saves
    saves += 1
    if saves == last:
        os.kill(os.getpid(), signal.SIGKILL)
    return replace(path, target)

training.fit_state.Path.replace = counted
main()
"""
EPOCHS = 6
OPTIONS = (
    "--model", "mood", "--epochs", EPOCHS, "--batch-size", 4, "--accumulate", 2,
    "--max-length", 32, "--average-decay", 0.9, "--json",
)  # fmt: skip


def checksum(home: Path, *arguments: object) -> str:
    """The SHA-256 of the adapter that a `training fit` registered."""
    done = training(home, "fit", "--data", home / "tiny", *OPTIONS, *arguments)
    assert done.status == 0, done.stderr
    version = f"mood:{json.loads(done.stdout)['version']}"
    shown = training(home, "show", version, "--json")
    assert shown.status == 0, shown.stderr
    return str(json.loads(shown.stdout)["adapter_sha256"]["adapter_model.safetensors"])


def fit_until(home: Path, save: int, *arguments: str) -> None:
    """Begin the fit; it is killed when it is about to save its state for so many times."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            KILLED,
            str(save),
            "fit",
            "--data",
            home / "tiny",
            *map(str, OPTIONS),
            *arguments,
        ],
        cwd=home,
        env={
            "PATH": "/usr/bin:/bin",
            "HOME": str(home),
            "HF_HUB_OFFLINE": "1",
            "OMP_NUM_THREADS": "1",
            "PYTHONPATH": str(Path(__file__).parents[2]),
        },
        capture_output=True,
        timeout=240,
        check=False,
    )
    assert done.returncode == -signal.SIGKILL, done.stderr.decode()


def states(home: Path) -> list[Path]:
    return list((home / ".labelstream" / "fits").glob(f"*/{STATE_FILE}"))


def finished_epochs(home: Path) -> int:
    (state,) = states(home)
    with safe_open(state, framework="numpy") as file:
        return len(json.loads(file.metadata()["state"])["epochs"])


def test_a_fit_killed_again_and_again_ends_as_an_unbroken_one(tmp_path: Path) -> None:
    write_data(tmp_path / "tiny")
    unbroken = checksum(tmp_path)
    assert checksum(tmp_path) == unbroken, "the same data and seed give the same adapter"
    assert states(tmp_path) == []

    # An epoch has 5 steps, so 6 saves. Within the first epoch, then on its last step but one.
    fit_until(tmp_path, 4)
    assert finished_epochs(tmp_path) == 0
    fit_until(tmp_path, 14, "--resume")
    assert finished_epochs(tmp_path) == 2
    assert checksum(tmp_path, "--resume") == unbroken
    assert states(tmp_path) == []


def test_there_must_be_something_to_resume(tmp_path: Path) -> None:
    write_data(tmp_path / "tiny")
    done = training(tmp_path, "fit", "--data", "tiny", *OPTIONS, "--resume")
    assert done.status == 2
    assert "no unfinished fit of this data with these options" in done.stderr
    assert len(done.stderr.strip().splitlines()[-1:]) == 1


def test_the_state_of_other_options_or_other_data_is_not_taken(tmp_path: Path) -> None:
    data = read_data(str(write_data(tmp_path / "tiny")))
    begun = FitStateFile(tmp_path, data.fingerprint, TINY)

    class Killed(Exception):
        pass

    def kill(*_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(data, FitConfig(epochs=2, batch_size=8, max_length=32), on_epoch=kill, state=begun)
    assert begun.exists()
    for other in (
        FitStateFile(tmp_path, data.fingerprint, FitConfig(seed=7)),
        FitStateFile(tmp_path, "0" * 64, TINY),
    ):
        assert not other.exists()
        with pytest.raises(UsageError, match="no unfinished fit"):
            other.load()


def test_a_damaged_state_is_one_line(tmp_path: Path) -> None:
    state = FitStateFile(tmp_path, "0" * 64, TINY)
    state.folder.mkdir(parents=True)
    (state.folder / STATE_FILE).write_bytes(b"no safetensors at all")
    with pytest.raises(LabelstreamError, match=r"cannot be read .*: remove it"):
        state.load()


def test_random_numbers_go_on_where_they_were(tmp_path: Path) -> None:
    """Dropout after a resume must draw what it would have drawn."""
    data = read_data(str(write_data(tmp_path / "tiny")))
    config = FitConfig(epochs=3, batch_size=8, max_length=32, lora_dropout=0.5)
    losses: list[float] = []
    whole = fit(data, config, on_step=lambda _e, _s, _n, loss: losses.append(loss))
    state = FitStateFile(tmp_path, data.fingerprint, config)

    class Killed(Exception):
        pass

    def kill_after_first(_: object) -> None:
        raise Killed

    with pytest.raises(Killed):
        fit(data, config, on_epoch=kill_after_first, state=state)
    torch.manual_seed(99)
    rest: list[float] = []
    resumed = fit(
        data, config, on_step=lambda _e, _s, _n, loss: rest.append(loss), state=state, resume=True
    )
    assert rest == losses[len(losses) - len(rest) :]
    assert [e.validation for e in resumed.epochs] == [e.validation for e in whole.epochs]
