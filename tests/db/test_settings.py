"""The settings: read in one place, from the environment or a file, and shown without passwords."""

import os
import stat
from pathlib import Path

import pytest

from db.errors import UsageError
from db.settings import Settings, get_settings, open_home
from tests.db.at_once import at_once

SECRET = "s3cret-password"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LABELSTREAM_ENGINE")
    return tmp_path


def test_with_nothing_set_everything_is_in_the_home_folder(folder: Path) -> None:
    settings = get_settings()
    assert settings.home == folder / ".labelstream"
    assert settings.store_url == f"sqlite:///{folder}/.labelstream/labelstream.db"
    assert settings.registry == str(folder / ".labelstream" / "registry")
    assert settings.embedded
    assert (settings.model, settings.device, settings.engine) == (
        "emotion@production",
        "auto",
        "auto",
    )


def test_the_environment_wins_over_the_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / ".env").write_text(
        "LABELSTREAM_MODEL=topics@beta\nLABELSTREAM_BROKER_URL=redis://file/0\nOTHER=1\n"
    )
    monkeypatch.setenv("LABELSTREAM_BROKER_URL", "redis://environment/0")
    settings = get_settings()
    assert (settings.model, settings.broker_url) == ("topics@beta", "redis://environment/0")
    assert not settings.embedded


@pytest.mark.parametrize("name", sorted(Settings.model_fields))
def test_an_empty_setting_is_an_unset_one(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    default = getattr(get_settings(), name)
    get_settings.cache_clear()
    (folder / ".env").write_text(f"LABELSTREAM_{name.upper()}=7\n")
    monkeypatch.setenv(f"LABELSTREAM_{name.upper()}", "")
    assert getattr(get_settings(), name) == default


def test_settings_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = get_settings()
    monkeypatch.setenv("LABELSTREAM_MODEL", "another")
    assert get_settings() is first


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("METRICS_PORT", SECRET),
        ("ENGINE", SECRET),
        ("ENGINE_PACE", "-1"),
        ("CONCURRENCY", "0"),
        ("LOG_LEVEL", SECRET),
    ],
)
def test_a_setting_that_is_not_usable_is_named_without_its_value(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(f"LABELSTREAM_{name}", value)
    with pytest.raises(UsageError) as raised:
        get_settings()
    assert f"LABELSTREAM_{name} is not usable" in str(raised.value)
    assert SECRET.lower() not in str(raised.value).lower()
    assert "\n" not in str(raised.value)


def test_settings_show_no_password() -> None:
    settings = Settings(
        database_url=f"postgresql://me:{SECRET}@host/name", broker_url=f"redis://:{SECRET}@host/0"
    )
    assert SECRET not in repr(settings)
    assert SECRET not in str(settings)


def test_the_home_folder_is_for_its_owner_alone(folder: Path) -> None:
    home = open_home(get_settings())
    assert home == folder / ".labelstream"
    assert stat.S_IMODE(home.stat().st_mode) == 0o700
    assert os.listdir(home) == []
    assert open_home(get_settings()) == home


def test_a_home_that_cannot_be_made_is_one_line(folder: Path) -> None:
    (folder / "file").touch()
    with pytest.raises(
        UsageError, match=r"cannot be written .*; set LABELSTREAM_HOME_DIR"
    ) as raised:
        open_home(Settings(home_dir=folder / "file" / "home"))
    assert "\n" not in str(raised.value)


def test_many_may_open_one_home_at_once(tmp_path: Path) -> None:
    settings = Settings(home_dir=tmp_path / "home")

    def open_often() -> None:
        for _ in range(200):
            open_home(settings)

    assert at_once([open_often] * 4) == [None] * 4
    assert list(settings.home.iterdir()) == []
