"""`training promote`, `rollback`, `threshold`, `prune`, `versions` and `show`, as people type them."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from db.registry.artifacts import artifact_store
from db.registry.events import record_event
from db.registry.versions import list_versions
from db.settings import Settings
from db.store import Store, open_store
from tests.training.test_fit import training
from training.registering import register
from worker.preparing import prepare
from worker.starter import ADAPTER


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """`emotion:1` in production, 2 and 3 waiting, in the home that a command finds by itself."""
    settings = Settings(_env_file=None, home_dir=tmp_path / ".labelstream")
    store = open_store(settings)
    prepare(store, settings)
    for _ in range(2):
        register(store, artifact_store(settings), ADAPTER, "emotion")
    yield store
    store.close()


def said(folder: Path, *arguments: object) -> str:
    done = training(folder, *arguments)
    assert done.status == 0, done.stderr
    return done.stdout


def refused(folder: Path, *arguments: object) -> str:
    done = training(folder, *arguments)
    assert done.status == 2, done.stdout
    lines = done.stderr.strip().splitlines()
    assert len(lines) == 1, done.stderr
    return lines[0]


def adapter(store: Store, tmp_path: Path, number: int) -> Path:
    version = list_versions(store, "emotion")[number - 1]
    return tmp_path / ".labelstream" / "registry" / version.adapter / "adapter_model.safetensors"


def test_promote_and_roll_back(store: Store, tmp_path: Path) -> None:
    assert said(tmp_path, "promote", "emotion:2", "--why", "better on love") == (
        "emotion@production is version 2 now (was 1)\n"
    )
    assert said(tmp_path, "promote", "emotion:2") == "emotion@production is version 2 already\n"
    assert json.loads(said(tmp_path, "promote", "emotion:3", "--alias", "beta", "--json")) == {
        "model": "emotion",
        "alias": "beta",
        "version": 3,
        "from_version": None,
        "changed": True,
    }
    assert said(tmp_path, "rollback", "emotion", "--why", "complaints") == (
        "emotion@production is version 1 again (was 2)\n"
    )
    assert "no usable version was promoted before" in refused(tmp_path, "rollback", "emotion")
    shown = said(tmp_path, "show", "emotion:2")
    assert "promoted production (was 1)" in shown
    assert shown.count("better on love") == 1


def test_a_damaged_version_is_not_promoted_and_show_names_the_damage(
    store: Store, tmp_path: Path
) -> None:
    path = adapter(store, tmp_path, 2)
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert "adapter_model.safetensors is damaged" in refused(tmp_path, "promote", "emotion:2")
    detail = json.loads(said(tmp_path, "show", "emotion:2", "--json"))
    (damage,) = detail["damage"]
    assert damage.startswith("adapter: ")
    assert "adapter_model.safetensors is damaged" in damage
    assert f"damaged: {damage}" in said(tmp_path, "show", "emotion:2")
    assert json.loads(said(tmp_path, "show", "emotion:1", "--json"))["damage"] == []
    path.unlink()
    assert "adapter_model.safetensors is missing" in said(tmp_path, "show", "emotion:2")


def test_versions_tell_the_last_refusal(store: Store, tmp_path: Path) -> None:
    for why in ("no memory", "wrong head"):
        record_event(store, "emotion", 2, "refused", who="worker-1", why=why)
    listed = {each["version"]: each for each in json.loads(said(tmp_path, "versions", "--json"))}
    assert {number: each["refused"] for number, each in listed.items()} == {
        1: None,
        2: "wrong head",
        3: None,
    }
    assert "emotion:2 was refused: wrong head\n" in said(tmp_path, "versions")


def test_a_threshold_is_set_and_taken_back(store: Store, tmp_path: Path) -> None:
    assert "below 0.6 unsure" in said(tmp_path, "threshold", "emotion:1", "0.6")
    assert list_versions(store, "emotion")[0].unsure_below == 0.6
    assert "marks no row unsure" in said(tmp_path, "threshold", "emotion:1", "none")
    assert list_versions(store, "emotion")[0].unsure_below is None
    for wrong in ("1.1", "-1", "nan", "much"):
        assert "is no confidence" in refused(tmp_path, "threshold", "emotion:1", "--", wrong)
    assert "threshold set by" in said(tmp_path, "show", "emotion:1")


def test_prune_says_what_went_and_what_stays(store: Store, tmp_path: Path) -> None:
    assert said(tmp_path, "prune", "emotion", "--keep", 1) == (
        "emotion:1 stays: production points to it\npruned: emotion:2\n"
    )
    assert [each.state for each in list_versions(store, "emotion")] == ["ready", "pruned", "ready"]
    assert "(pruned)" in said(tmp_path, "show", "emotion:2")
    assert "emotion:2 is pruned" in refused(tmp_path, "promote", "emotion:2")
    assert "there is no model topics" in refused(tmp_path, "prune", "topics", "--keep", 1)
    assert json.loads(said(tmp_path, "prune", "emotion", "--keep", 5, "--json")) == {
        "model": "emotion",
        "pruned": [],
        "kept": {},
        "orphans": 0,
    }


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("promote", "emotion:9"), "there is no model emotion:9"),
        (("promote", "emotion"), "names no version by its number"),
        (("promote", "emotion:1", "--alias", "a b"), "cannot be the name of a model or an alias"),
        (("rollback", "emotion:1"), "takes a model's name"),
        (("rollback", "topics"), "there is no model topics@production"),
        (("prune", "emotion", "--keep", "0"), "greater than or equal to 1"),
    ],
)
def test_what_cannot_be_done_is_one_line(
    store: Store, tmp_path: Path, arguments: tuple[str, ...], expected: str
) -> None:
    assert expected in refused(tmp_path, *arguments)
