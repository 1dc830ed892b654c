"""The compose files say what they must: valid, hardened, in order, no password of their own."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.deploy.compose import BASE, GPU, PASSWORDS, ROOT, VariableMissing, load, variables

PROJECT = load(BASE)
SERVICES: dict[str, Any] = PROJECT["services"]
OURS = {"migrate", "worker", "producer", "retrain", "beat"}

#: Named like what holds a secret; Grafana has none, for nobody can log in.
GRAFANA_SWITCHES = {
    "GF_AUTH_ANONYMOUS_ENABLED",
    "GF_AUTH_ANONYMOUS_ORG_ROLE",
    "GF_AUTH_DISABLE_LOGIN_FORM",
}


def validate(*files: Path) -> subprocess.CompletedProcess[str]:
    command: list[str | Path] = [
        Path(sys.executable).parent / "check-jsonschema",
        "--builtin-schema",
        "vendor.compose-spec",
        *files,
    ]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_both_files_and_their_merge_are_valid_by_the_specifications_schema(tmp_path: Path) -> None:
    merged = tmp_path / "merged.yml"
    merged.write_text(yaml.safe_dump(load(BASE, GPU)))
    done = validate(BASE, GPU, merged)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_schema_refuses_a_misspelt_key(tmp_path: Path) -> None:
    wrong = load(BASE)
    wrong["services"]["worker"]["depend_on"] = wrong["services"]["worker"].pop("depends_on")
    (tmp_path / "wrong.yml").write_text(yaml.safe_dump(wrong))
    done = validate(tmp_path / "wrong.yml")
    assert done.returncode == 1
    assert "depend_on" in done.stdout


@pytest.mark.parametrize("missing", PASSWORDS)
@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_without_a_password_nothing_is_interpolated(missing: str, value: str | None) -> None:
    environment = {**PASSWORDS, missing: value or ""}
    if value is None:
        del environment[missing]
    with pytest.raises(VariableMissing, match=missing):
        load(BASE, environment=environment)


def test_no_variable_that_holds_a_password_has_a_default() -> None:
    found = variables(BASE.read_text() + GPU.read_text())
    secret = {name: kinds for name, kinds in found.items() if "PASSWORD" in name}
    assert secret == {name: {"?"} for name in PASSWORDS}


def test_no_setting_that_holds_a_password_is_written_out() -> None:
    for name, service in SERVICES.items():
        for key, value in service.get("environment", {}).items():
            if key in GRAFANA_SWITCHES:
                assert value in ("true", "Viewer"), key
                continue
            if any(word in key for word in ("PASSWORD", "AUTH", "_URL")):
                assert any(word in str(value) for word in PASSWORDS.values()), (name, key)


def test_passwords_stand_in_the_environment_and_never_in_an_argument() -> None:
    for name, service in SERVICES.items():
        without = {key: value for key, value in service.items() if key != "environment"}
        for password in PASSWORDS.values():
            assert password not in json.dumps(without), name


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_hardened(name: str) -> None:
    service = SERVICES[name]
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "privileged" not in service
    # Ours take the image's user; a test of the image looks at it.
    others = {"redis", "postgres", "nobody", "grafana"}
    assert service["image"] == "labelstream" or service["user"] in others
    for port in service.get("ports", []):
        assert str(port).startswith("127.0.0.1:")


def test_services_start_in_order_of_health() -> None:
    order = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in SERVICES.items()
    }
    assert order == {
        "redis": {},
        "postgres": {},
        "migrate": {"postgres": "service_healthy"},
        "worker": {"migrate": "service_completed_successfully", "redis": "service_healthy"},
        "producer": {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
            "worker": "service_healthy",
        },
        "dashboard": {"migrate": "service_completed_successfully"},
        "retrain": {
            "migrate": "service_completed_successfully",
            "redis": "service_healthy",
            "worker": "service_healthy",
        },
        "beat": {"redis": "service_healthy"},
        "prometheus": {},
        "grafana": {"prometheus": "service_healthy"},
    }
    waited_for = {
        other for conditions in order.values() for other, how in conditions.items()
        if how == "service_healthy"
    }  # fmt: skip
    assert all("healthcheck" in SERVICES[name] for name in waited_for)


def test_what_serves_is_started_again_and_what_runs_once_is_not() -> None:
    assert {name: service["restart"] for name, service in SERVICES.items()} == {
        "redis": "unless-stopped",
        "postgres": "unless-stopped",
        "worker": "unless-stopped",
        "migrate": "no",
        "producer": "no",
        "dashboard": "unless-stopped",
        "retrain": "unless-stopped",
        "beat": "unless-stopped",
        "prometheus": "unless-stopped",
        "grafana": "unless-stopped",
    }
    profiles = {name: service.get("profiles") for name, service in SERVICES.items()}
    assert {name: found for name, found in profiles.items() if found} == {
        "producer": ["producer"],
        "dashboard": ["dashboard"],
        "retrain": ["retrain"],
        "beat": ["retrain"],
        "prometheus": ["monitoring"],
        "grafana": ["monitoring"],
    }
    assert SERVICES["worker"]["stop_grace_period"] == "40s"
    assert SERVICES["retrain"]["stop_grace_period"] == "40s"


def test_the_page_has_no_token_of_its_own_and_will_not_start_without_one() -> None:
    page = SERVICES["dashboard"]
    assert page["environment"]["LABELSTREAM_DASHBOARD_TOKEN"] == ""
    # Whoever serves more than loopback without a token is refused: tests/dashboard/test_safety.py.
    assert page["command"] == ["python", "-m", "dashboard", "--host", "0.0.0.0"]  # noqa: S104


def test_what_must_last_lies_in_named_volumes() -> None:
    mounts = {name: service.get("volumes", []) for name, service in SERVICES.items()}
    assert all(mount.endswith(":ro") for mount in mounts.pop("grafana"))
    *files, kept = mounts.pop("prometheus")
    assert all(mount.endswith(":ro") for mount in files)
    assert kept == "prometheus-data:/prometheus"
    assert mounts == {
        "redis": ["redis-data:/data"],
        "postgres": ["postgres-data:/var/lib/postgresql/data"],
        "migrate": [],
        "worker": ["registry:/var/lib/labelstream/registry"],
        "producer": ["registry:/var/lib/labelstream/registry", "./data:/data:ro"],
        "dashboard": ["registry:/var/lib/labelstream/registry"],
        "retrain": [
            "registry:/var/lib/labelstream/registry",
            "./data:/data:ro",
            "./examples/scheduling:/scheduling:ro",
        ],
        "beat": ["./examples/scheduling:/scheduling:ro"],
    }
    volumes = {"redis-data", "postgres-data", "registry", "prometheus-data"}
    assert set(PROJECT["volumes"]) == volumes


def test_the_override_reserves_a_gpu_and_changes_nothing_else() -> None:
    merged = load(BASE, GPU)["services"]
    worker = merged["worker"]
    assert worker.pop("deploy") == {
        "resources": {
            "reservations": {"devices": [{"driver": "nvidia", "count": 1, "capabilities": ["gpu"]}]}
        }
    }
    assert worker["environment"].pop("LABELSTREAM_DEVICE") == "cuda"
    plain = load(BASE)["services"]
    assert plain["worker"]["environment"].pop("LABELSTREAM_DEVICE") == "auto"
    assert merged == plain


def compose_config(**passwords: str) -> subprocess.CompletedProcess[str]:
    surroundings = {key: value for key, value in os.environ.items() if key not in PASSWORDS}
    return subprocess.run(
        # The developer's own .env is not this test's.
        ["docker", "compose", "--env-file", "/dev/null", "--file", str(BASE), "config",
         "--format", "json"],
        env={**surroundings, **passwords}, cwd=ROOT, capture_output=True, text=True,
        timeout=60, check=False,
    )  # fmt: skip


def test_compose_itself_refuses_to_start_without_passwords_and_reads_the_file_with_them() -> None:
    try:
        version = subprocess.run(
            ["docker", "compose", "version"], capture_output=True, timeout=60, check=False
        )
    except FileNotFoundError:
        pytest.skip("no docker on the PATH")
    if version.returncode:
        pytest.skip("docker has no compose plugin")
    for name in PASSWORDS:
        refused = compose_config(**{**PASSWORDS, name: ""})
        assert refused.returncode != 0
        assert f"set {name} in .env" in refused.stderr
    accepted = compose_config(**PASSWORDS)
    assert accepted.returncode == 0, accepted.stderr
    # The producer is behind a profile.
    behind_profiles = {"producer", "retrain", "beat", "prometheus", "grafana"}
    assert set(json.loads(accepted.stdout)["services"]) == set(SERVICES) - behind_profiles
