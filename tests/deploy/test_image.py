"""The image and its example settings: what is in it, who runs it, what it is told."""

import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from db.settings import Settings
from tests.deploy.compose import BASE, PASSWORDS, ROOT, VariableMissing, load, variables

DOCKERFILE = (ROOT / "Dockerfile").read_text()
EXAMPLE = ROOT / ".env.example"
SETTINGS = {f"LABELSTREAM_{name.upper()}" for name in Settings.model_fields}

#: `NAME=value`, or `#NAME=value` for what is left unset.
_ASSIGNMENT = re.compile(r"^(?P<off>#?)(?P<name>[A-Z_]+)=(?P<value>.*)$", re.MULTILINE)


def assigned() -> dict[str, str]:
    """The example's variables that are not commented out."""
    found = _ASSIGNMENT.finditer(EXAMPLE.read_text())
    return {match["name"]: match["value"] for match in found if not match["off"]}


def test_the_image_runs_as_a_user_without_rights() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert users == ["10001:10001"]
    assert "useradd --uid 10001 --gid 10001 --create-home labelstream" in DOCKERFILE
    # Nothing after it can be root again.
    assert DOCKERFILE.index("USER 10001") > DOCKERFILE.rindex("FROM ")


def test_the_image_is_built_with_the_pinned_versions_and_names_no_index() -> None:
    assert "--constraint constraints.txt" in DOCKERFILE
    assert 'ARG PIP_EXTRA_INDEX_URL=""' in DOCKERFILE
    assert "://" not in DOCKERFILE + (ROOT / "constraints.txt").read_text()


def test_the_image_has_the_page_and_the_driver_for_an_object_store() -> None:
    # Who runs it as its user may not install anything there.
    (extras,) = re.findall(
        r"^RUN pip install --constraint \S+ '\.\[(\S+)\]'$", DOCKERFILE, re.MULTILINE
    )
    assert extras == "dashboard,s3"
    pinned = (ROOT / "constraints.txt").read_text()
    for package in ("s3fs", "starlette", "uvicorn"):
        assert re.search(rf"^{package}==", pinned, re.MULTILINE)


def sources() -> set[str]:
    """What the build takes from the project."""
    lines = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    return {name for line in lines for name in line.split()}


def test_the_build_sees_what_it_copies_and_nothing_else() -> None:
    ignored = (ROOT / ".dockerignore").read_text().split("\n")
    assert ignored[1] == "*"
    assert {line[1:] for line in ignored if line.startswith("!")} == sources()
    assert all((ROOT / name).exists() for name in sources())


def test_the_wheel_has_every_file_of_the_packages(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    without_caches = shutil.ignore_patterns("__pycache__")
    for name in sources():
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, ignore=without_caches)
        else:
            shutil.copy(ROOT / name, source / name)
    expected = {
        path.relative_to(source).as_posix()
        for package in ("db", "worker", "producer", "training", "dashboard")
        for path in (source / package).rglob("*")
        if path.is_file()
    }
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation",
         "--wheel-dir", str(tmp_path), str(source)],
        check=True, timeout=120,
    )  # fmt: skip
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        assert expected <= set(archive.namelist())


def test_every_setting_that_compose_and_the_image_name_is_one() -> None:
    named = {
        key
        for service in load(BASE)["services"].values()
        for key in service.get("environment", {})
        if key.startswith("LABELSTREAM_")
    }
    named |= set(re.findall(r"(LABELSTREAM_\w+)=", DOCKERFILE))
    assert "LABELSTREAM_DATABASE_URL" in named
    assert named <= SETTINGS


def test_the_example_has_every_variable_of_compose_and_every_setting_and_no_other() -> None:
    named = {match["name"] for match in _ASSIGNMENT.finditer(EXAMPLE.read_text())}
    assert named == SETTINGS | set(variables(BASE.read_text()))


def test_the_example_has_no_password_and_compose_refuses_it_as_it_is() -> None:
    example = assigned()
    assert {name: example[name] for name in PASSWORDS} == dict.fromkeys(PASSWORDS, "")
    with pytest.raises(VariableMissing):
        load(BASE, environment=example)
    assert load(BASE, environment={**example, **PASSWORDS}) == load(BASE)


def test_the_example_leaves_a_process_outside_of_compose_in_embedded_mode() -> None:
    read = Settings(_env_file=EXAMPLE)
    assert read == Settings(_env_file=None)
    assert read.embedded
