"""Another version is promoted, and taken back, behind a question for the reason."""

import shutil
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from db.registry.local_artifacts import LocalArtifacts
from db.registry.names import ModelRef
from db.registry.versions import NewVersion, add_version, resolve
from tests.cluster import Cluster
from tests.dashboard.pages import Served, opened, sign_in


@pytest.fixture
def two_versions(cluster: Cluster, registry: Path, tmp_path: Path) -> int:
    """A second version of the starter's files; return a job that the first has labelled."""
    first = resolve(cluster.store, ModelRef("emotion", None, 1))
    copy = tmp_path / "copy"
    shutil.copytree(registry / first.adapter, copy)
    location, hashes = LocalArtifacts(registry).publish(copy)
    values = {name: getattr(first, name) for name in NewVersion.__dataclass_fields__}
    values |= {"adapter": location, "adapter_sha256": hashes, "parent_version": 1}
    add_version(cluster.store, NewVersion(**values), who="a test")
    path = tmp_path / "rows.csv"
    path.write_text("text\n" + "".join(f"what a day this is {n}\n" for n in range(40)))
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    return int(cluster.ingest(path)["job"])


def serving(cluster: Cluster) -> int:
    version = cluster.value("SELECT version FROM model_aliases WHERE alias = 'production'")
    assert isinstance(version, int)
    return version


def test_a_version_is_promoted_and_rolled_back_with_name_and_reason(
    cluster: Cluster, page: Served, browser: Browser, two_versions: int
) -> None:
    with opened(browser, page) as window:
        window.goto("/models/emotion")
        assert window.get_by_role("link", name="Promote emotion:2").count() == 0
        sign_in(window, "/models/emotion")
        assert "0.9325" in window.inner_text("main")
        window.get_by_role("link", name="Promote emotion:2").click()
        button = window.get_by_role("button", name="Promote emotion:2")
        button.click()
        assert serving(cluster) == 1, "without a name and a reason the form stays"
        window.get_by_label("Who you are").fill("Ada")
        window.get_by_label("Why").fill("it reads <b>better</b>")
        button.click()
        window.wait_for_url("**/models/emotion")
        assert serving(cluster) == 2
        assert "it reads <b>better</b>" in window.inner_text("main")
        window.get_by_role("link", name="Roll back to emotion:1").click()
        window.get_by_label("Who you are").fill("Ben")
        window.get_by_label("Why").fill("it does not")
        window.get_by_role("button", name="Roll back to emotion:1").click()
        window.wait_for_url("**/models/emotion")
    assert serving(cluster) == 1
    events = cluster.rows(
        "SELECT event, version, who, why FROM model_events ORDER BY id DESC LIMIT 2"
    )
    assert [tuple(event) for event in events] == [
        ("rolled back", 1, "Ben", "it does not"),
        ("promoted", 2, "Ada", "it reads <b>better</b>"),
    ]


def test_who_comes_second_is_told_and_moves_nothing(
    cluster: Cluster, page: Served, browser: Browser, two_versions: int
) -> None:
    with opened(browser, page) as one, opened(browser, page) as other:
        for window in (one, other):
            sign_in(window, "/models/emotion")
            window.get_by_role("link", name="Promote emotion:2").click()
            window.get_by_label("Who you are").fill("Ada")
            window.get_by_label("Why").fill("why not")
        one.get_by_role("button", name="Promote").click()
        one.wait_for_url("**/models/emotion")
        other.get_by_role("button", name="Promote").click()
        other.get_by_text("serves by now: look again").wait_for()
    assert cluster.value("SELECT count(*) FROM model_events WHERE event = 'promoted'") == 2


def test_what_would_flip_is_what_training_compare_says(
    cluster: Cluster, page: Served, browser: Browser, two_versions: int
) -> None:
    with opened(browser, page) as window:
        sign_in(window, "/models/emotion")
        window.get_by_label("rows, at random").fill("30")
        window.get_by_role("button", name="Compare").click()
        window.get_by_text("labels would flip").wait_for(timeout=120_000)
        # The same weights say the same.
        assert "0 of 30" in window.inner_text("main")


def test_a_version_has_its_figures_its_confusions_and_its_report(
    page: Served, browser: Browser
) -> None:
    with opened(browser, page) as window:
        window.goto("/models/emotion/1")
        main = window.inner_text("main")
        assert "0.9325" in main
        assert window.locator("table.matrix tbody tr").count() == 6
        window.locator("iframe").scroll_into_view_if_needed()
        report = window.frame_locator("iframe")
        report.get_by_text("What is taken for what").wait_for()
        assert report.locator("svg").count() >= 3
