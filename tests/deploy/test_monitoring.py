"""Prometheus, Grafana and the alerts ask for what a worker tells, in words that they understand."""

import json
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

from db.migrate import upgrade
from db.store import Store
from tests.deploy.compose import BASE, ROOT, load
from worker.engine_threads import EngineThreads
from worker.engines.constant import ConstantEngine
from worker.gauges import WorkerGauges, with_gauges
from worker.refusals import Refusals

FOLDER = ROOT / "monitoring"
SERVICES: dict[str, Any] = load(BASE)["services"]

#: What samples of a family are called, by its kind.
ENDINGS = {
    "counter": ("_total", "_created"),
    "histogram": ("_bucket", "_sum", "_count", "_created"),
    "info": ("_info",),
    "gauge": ("",),
}


def read(name: str) -> Any:
    return yaml.safe_load((FOLDER / name).read_text(encoding="utf-8"))


RULES = {rule["alert"]: rule for group in read("alerts.yml")["groups"] for rule in group["rules"]}
DASHBOARD = json.loads((FOLDER / "grafana/dashboards/labelstream.json").read_text())
#: Every query, by where it stands; what Grafana puts in itself is put in.
QUERIES = {name: rule["expr"] for name, rule in RULES.items()} | {
    f"{panel['title']} {target['refId']}": re.sub(r"\$__\w*interval", "1m", target["expr"])
    for panel in DASHBOARD["panels"]
    for target in panel["targets"]
}


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """The names of all samples that a worker may tell."""
    folder = tmp_path_factory.mktemp("home")
    store = Store(f"sqlite:///{folder / 'store.db'}")
    upgrade(store)
    engine = EngineThreads(lambda _: ConstantEngine(1))
    gauges = WorkerGauges(store, engine, Refusals(store, "worker"), folder)
    families = list(with_gauges(gauges).collect())
    store.close()
    return {"up"} | {
        f"{family.name}{ending}" for family in families for ending in ENDINGS[family.type]
    }


@pytest.mark.parametrize("name", QUERIES)
def test_every_query_is_one_and_asks_for_what_is_told(name: str, told: set[str]) -> None:
    promql_parser.parse(QUERIES[name])
    metrics = set(re.findall(r"\b(?:labelstream_\w+|up\b)", QUERIES[name]))
    assert metrics
    assert metrics <= told


def test_a_query_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="unclosed"):
        promql_parser.parse("sum by (queue) (labelstream_lag_seconds")


def test_there_are_five_alerts_which_say_what_to_do() -> None:
    assert sorted(RULES) == [
        "LabelstreamDisk",
        "LabelstreamLag",
        "LabelstreamNoWorker",
        "LabelstreamRejects",
        "LabelstreamVersionRefused",
    ]
    for rule in RULES.values():
        assert set(rule) == {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in {"critical", "warning"}
        assert set(rule["annotations"]) == {"summary", "description"}
        assert re.fullmatch(r"\d+m", rule["for"])


def test_prometheus_asks_the_workers_on_the_port_that_they_open() -> None:
    config = read("prometheus.yml")
    [job] = config["scrape_configs"]
    [found] = job["dns_sd_configs"]
    worker = SERVICES["worker"]["environment"]
    assert found == {"names": ["worker"], "type": "A", "port": worker["LABELSTREAM_METRICS_PORT"]}
    assert worker["LABELSTREAM_METRICS_HOST"] == "0.0.0.0"  # noqa: S104
    assert f'job="{job["job_name"]}"' in RULES["LabelstreamNoWorker"]["expr"]
    assert config["rule_files"] == ["alerts.yml"]


def mounts(name: str) -> dict[str, Path]:
    """What of the project a service sees, by where it sees it."""
    found = (volume.split(":") for volume in SERVICES[name]["volumes"])
    return {parts[1]: ROOT / parts[0] for parts in found if parts[0].startswith("./")}


def test_what_is_mounted_is_there_and_where_it_is_looked_for() -> None:
    for name in ("prometheus", "grafana"):
        for source in mounts(name).values():
            assert source.exists(), source
    assert mounts("prometheus")["/etc/prometheus/prometheus.yml"] == FOLDER / "prometheus.yml"
    assert mounts("prometheus")["/etc/prometheus/alerts.yml"] == FOLDER / "alerts.yml"
    [provider] = read("grafana/dashboards.yml")["providers"]
    dashboards = mounts("grafana")[provider["options"]["path"]]
    home = SERVICES["grafana"]["environment"]["GF_DASHBOARDS_DEFAULT_HOME_DASHBOARD_PATH"]
    assert (dashboards / Path(home).name).is_file()
    [source] = read("grafana/datasource.yml")["datasources"]
    assert {panel["datasource"]["uid"] for panel in DASHBOARD["panels"]} == {source["uid"]}
    assert source["url"] == "http://prometheus:9090"


def test_the_panels_stand_beside_each_other() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in DASHBOARD["panels"]:
        at = panel["gridPos"]
        cells = {
            (at["x"] + column, at["y"] + row) for column in range(at["w"]) for row in range(at["h"])
        }
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
