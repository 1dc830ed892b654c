"""Another version is promoted, and taken back, behind a question for the reason."""

import shutil
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from playwright.sync_api import Browser
from starlette.exceptions import HTTPException
from starlette.requests import Request

from dashboard.access import Access
from dashboard.site import Site
from dashboard.views.models import SIDE_BY_SIDE, ModelViews
from db.registry.aliases import promote
from db.registry.artifacts import artifact_store
from db.registry.local_artifacts import LocalArtifacts
from db.registry.names import ModelRef
from db.registry.versions import NewVersion, Version, add_version, resolve
from tests.cluster import Cluster
from tests.dashboard.pages import TOKEN, Served, opened, sign_in
from tests.db.at_once import at_once
from tests.db.ledger_parts import begin, change


def first_version(cluster: Cluster) -> Version:
    return resolve(cluster.store, ModelRef("emotion", None, 1))


def add_another(cluster: Cluster, **values: Any) -> None:
    """Add a version that is the starter, but for `values`."""
    first = first_version(cluster)
    given = {name: getattr(first, name) for name in NewVersion.__dataclass_fields__}
    new = NewVersion(**{**given, "parent_version": 1, **values})
    add_version(cluster.store, new, who="a test")


@pytest.fixture
def two_versions(cluster: Cluster, registry: Path, tmp_path: Path) -> int:
    """A second version of the starter's files; return a job that the first has labelled."""
    copy = tmp_path / "copy"
    shutil.copytree(registry / first_version(cluster).adapter, copy)
    location, hashes = LocalArtifacts(registry).publish(copy)
    add_another(cluster, adapter=location, adapter_sha256=hashes)
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


def signed_in(page: Served) -> dict[str, str]:
    """Return the headers of a browser that has entered the token."""
    answer = page.ask("POST", "/sign-in", urlencode({"token": TOKEN}), Origin=page.address)
    return {"Cookie": answer[1]["set-cookie"].split(";")[0], "Origin": page.address}


def test_of_two_that_roll_back_at_once_one_is_told_and_the_confirmed_version_serves(
    cluster: Cluster, page: Served
) -> None:
    for number in (2, 3):
        add_another(cluster)
        promote(cluster.store, "emotion", number, who="a test", why=None)
    given = signed_in(page)
    confirmed = page.ask("GET", "/models/emotion/confirm?back=1", **given)[2]
    assert "Roll back to emotion:2" in confirmed
    form = {"version": 2, "serving": 3, "back": 1, "who": "Ada", "why": "worse"}
    answers = at_once(
        [lambda: page.ask("POST", "/models/emotion/move", urlencode(form), **given)] * 4
    )
    assert sorted(answer[0] for answer in answers) == [303, 400, 400, 400]
    assert serving(cluster) == 2


def test_nothing_is_rolled_back_to_what_is_damaged_or_was_not_confirmed(
    cluster: Cluster, page: Served
) -> None:
    add_another(cluster, adapter="gone")
    add_another(cluster)
    for number in (2, 3):
        promote(cluster.store, "emotion", number, who="a test", why=None)
    given = signed_in(page)
    for target, words in ((2, "gone"), (1, "would go back from version 3 to 2 by now, not to 1")):
        form = {"version": target, "serving": 3, "back": 1, "who": "Ada", "why": "worse"}
        status, _, said = page.ask("POST", "/models/emotion/move", urlencode(form), **given)
        assert status == 400
        assert words in said
    assert serving(cluster) == 3


def test_what_serves_and_what_lies_before_it_stand_beside_the_newest(
    cluster: Cluster, page: Served, browser: Browser
) -> None:
    newest = SIDE_BY_SIDE + 3
    for number in range(2, newest + 1):
        # The newest was never measured.
        add_another(cluster, **({"metrics": {}} if number == newest else {}))
    promote(cluster.store, "emotion", 2, who="a test", why=None)
    with opened(browser, page) as window:
        window.goto("/models/emotion")
        table = window.get_by_role("region", name="Versions side by side")
        heads = table.locator("thead a").all_inner_texts()
        assert heads == [
            f"emotion:{number}" for number in (1, 2, *range(newest - SIDE_BY_SIDE + 1, newest + 1))
        ]
        assert "1 more" in window.inner_text("main")
        rows = table.locator("tbody tr")
        assert rows.first.inner_text().split("\t") == [
            "measured on", *["test"] * (len(heads) - 1), "–"
        ]  # fmt: skip
        assert all(row.split("\t")[-1] == "–" for row in rows.all_inner_texts())
        window.goto(f"/models/emotion/{newest}")
        assert "never measured" in window.inner_text("main")


@pytest.mark.parametrize("promoted", [1, 2])
def test_a_comparison_goes_from_what_serves_to_another_version(
    cluster: Cluster, page: Served, browser: Browser, two_versions: int, promoted: int
) -> None:
    promote(cluster.store, "emotion", promoted, who="a test", why=None)
    add_another(cluster)
    change(cluster.store, "UPDATE model_versions SET state = 'pruned' WHERE version = 3")
    with opened(browser, page) as window:
        sign_in(window, "/models/emotion")
        assert window.get_by_label("from").input_value() == str(promoted)
        assert window.get_by_label("to", exact=True).input_value() == str(3 - promoted)
        assert window.locator("#before option").all_inner_texts() == ["emotion:1", "emotion:2"]


def test_a_comparison_that_failed_says_why_and_can_be_tried_again(
    cluster: Cluster, page: Served, browser: Browser
) -> None:
    add_another(cluster)
    job = begin(cluster.store).job
    form = urlencode({"before": 1, "after": 2, "job": job})
    with opened(browser, page) as window:
        sign_in(window, "/models/emotion")
        cookie = window.context.cookies()[0]
        headers = {"Cookie": f"{cookie['name']}={cookie['value']}", "Origin": page.address}
        status, told, _ = page.ask("POST", "/models/emotion/compare", form, **headers)
        assert status == 303
        window.goto(told["location"])
        button = window.get_by_role("button", name="Try again")
        button.wait_for(timeout=60_000)
        assert f"job {job}" in window.inner_text(".failure")
        # What is over is asked for no more: there is nothing left to pause.
        window.get_by_role("button", name="Pause").wait_for(state="hidden")
        button.click()
        window.get_by_text("Both versions label the rows now").wait_for()
        button.wait_for(timeout=60_000)


def test_what_is_no_name_of_a_model_reaches_no_command(page: Served, cluster: Cluster) -> None:
    form = urlencode({"before": 1, "after": 2, "job": 1})
    for name in ("--help", "a%20b", "a:1", "a%3B"):
        status, _, said = page.ask("POST", f"/models/{name}/compare", form, **signed_in(page))
        assert status == 400
        assert "cannot be the name of a model" in said


def test_changes_are_refused_by_the_views_themselves_too(cluster: Cluster) -> None:
    settings = cluster.python_settings()
    access = Access(TOKEN, open_to_look=True)
    views = ModelViews(Site(cluster.store, settings, artifact_store(settings), access))
    request = Request(
        {"type": "http", "method": "POST", "headers": [], "path_params": {"model": "emotion"}}
    )
    form = {"version": "1", "serving": "1", "who": "Eve", "why": "so"}
    with pytest.raises(HTTPException) as refused:
        views._move(request, form)
    assert refused.value.status_code == 403
    with pytest.raises(HTTPException) as refused:
        # It ends before it waits for anything.
        views.compare(request).send(None)
    assert refused.value.status_code == 403
