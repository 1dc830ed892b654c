"""A fit that goes on does so on the base on which it began, or not at all."""

from pathlib import Path

import huggingface_hub.constants
import pytest

from db.errors import UsageError
from tests.foreign_models import plain_base
from tests.hub_cache import HubCache
from tests.tiny_models import write_rows
from training.data import LabelledData, read_data
from training.fit import fit
from training.fit_config import FitConfig
from training.fit_state import FitStateFile

OLD, NEW = "0" * 39 + "1", "f" * 39 + "2"


class Killed(Exception):
    """What breaks a fit off."""


def broken_off(data: LabelledData, config: FitConfig, folder: Path) -> FitStateFile:
    """Begin a fit, which ends after its first epoch."""

    def kill(_: object) -> None:
        raise Killed

    state = FitStateFile(folder, data.fingerprint, config)
    with pytest.raises(Killed):
        fit(data, config, on_epoch=kill, state=state)
    return state


def config_of(base: object) -> FitConfig:
    return FitConfig(base=str(base), epochs=2, batch_size=16, max_length=32)


def test_a_fit_goes_on_at_the_commit_at_which_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubCache(tmp_path / "cache")
    # The hub's client has read them from the environment when it was imported.
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(hub.home / "hub"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    hub.add("owner/base", NEW, plain_base(tmp_path / "new", seed=2))
    hub.add("owner/base", OLD, plain_base(tmp_path / "old", seed=1))
    data = read_data(str(write_rows(tmp_path / "rows", ("bad", "good"))))
    config = config_of("owner/base")
    whole = fit(data, config)
    state = broken_off(data, config, tmp_path / "fits")
    hub.move_main("owner/base", NEW)
    resumed = fit(data, config, state=state, resume=True)
    assert resumed.base.revision == OLD
    assert [epoch.loss for epoch in resumed.epochs] == [epoch.loss for epoch in whole.epochs]


def test_a_fit_does_not_go_on_with_another_base(tmp_path: Path) -> None:
    base = plain_base(tmp_path / "base", seed=1)
    data = read_data(str(write_rows(tmp_path / "rows", ("bad", "good"))))
    state = broken_off(data, config_of(base), tmp_path / "fits")
    plain_base(base, seed=2)
    with pytest.raises(UsageError, match="is not the one on which this fit began: put that one"):
        fit(data, config_of(base), state=state, resume=True)
