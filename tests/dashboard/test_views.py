"""Every view: found its way through a million rows, for everybody to use, and kept as a picture."""

import os
import re
import shutil
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page

from db.store import Store
from tests.cluster import Cluster
from tests.dashboard.large_job import fill
from tests.dashboard.pages import Served, keep_picture, opened, served, sign_in
from tests.db.ledger_parts import change
from tests.pipeline.conftest import copied

ROWS = 1_000_000

EXAMPLE = Path(__file__).parents[2] / "examples" / "tweets.csv"

#: Each view by the name of its picture. Job 1 has a million rows, job 2 is the example.
VIEWS = {
    "now": "/",
    "jobs": "/jobs",
    "job": "/jobs/2",
    "large-job": "/jobs/1?order=confidence&label=joy",
    "rejects": "/jobs/2/rejects",
    "review-jobs": "/review",
    "review-job": "/review/2",
    "review": "/review/2/row?strategy=uncertain",
    "models": "/models",
    "model": "/models/emotion",
    "version": "/models/emotion/1",
    "confirm": "/models/emotion/confirm?version=1",
    "drift-versions": "/drift",
    "drift": "/drift/emotion/1",
    "failure": "/jobs/77",
}

#: What axe-core calls a fault that keeps people from using a page.
SERIOUS = ("serious", "critical")


@pytest.fixture(scope="module")
def settings(
    tmp_path_factory: pytest.TempPathFactory,
    starter_sqlite: str,
    registry: Path,
    redis_server: str,
) -> dict[str, str]:
    """A store with a job of a million rows, and one of the example that the starter labelled."""
    folder = tmp_path_factory.mktemp("views")
    url = copied(starter_sqlite, folder)
    store = Store(url)
    fill(store, ROWS)
    store.close()
    cluster = Cluster(folder, redis_server, url, registry)
    try:
        cluster.start_worker()
        # As it came from a folder of its own.
        example = folder / EXAMPLE.name
        shutil.copyfile(EXAMPLE, example)
        with example.open("a") as file:
            file.write("\n")
        cluster.producer("ingest", example.name, "--wait")
        change(cluster.store, "UPDATE jobs SET source = 'tweets.csv' WHERE id = 2")
    finally:
        cluster.stop()
    return cluster.settings


@pytest.fixture(scope="module")
def page(settings: dict[str, str]) -> Iterator[Served]:
    with served(settings) as running:
        yield running


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the pictures go: LABELSTREAM_TEST_PICTURES, or pytest's own folder."""
    given = os.environ.get("LABELSTREAM_TEST_PICTURES")
    return Path(given) if given else tmp_path_factory.mktemp("pictures")


def show(window: Page, path: str) -> None:
    """Open a view, and wait until all of it is there."""
    window.goto(path)
    window.wait_for_load_state("networkidle")


def be_known(window: Page) -> None:
    sign_in(window, "/review/2")
    window.get_by_label("Your name").fill("Ada")
    window.get_by_role("button", name="That is me").click()


def faults(window: Page, **options: Any) -> list[str]:
    found = Axe().run(window, options=options or None).response["violations"]
    return [
        f"{one['id']}: {one['help']}: {one['nodes'][0]['html'][:200]}"
        for one in found
        if one["impact"] in SERIOUS
    ]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_no_view_has_a_serious_fault_for_those_who_see_hear_or_move_otherwise(
    page: Served, browser: Browser, pictures: Path, scheme: str
) -> None:
    with opened(browser, page, color_scheme=scheme) as window:
        show(window, "/sign-in")
        keep_picture(window, pictures, f"sign-in-{scheme}")
        found = {"sign-in": faults(window)}
        be_known(window)
        for name, path in VIEWS.items():
            show(window, path)
            assert window.locator("h1").count() == 1
            keep_picture(window, pictures, f"{name}-{scheme}")
            found[name] = faults(window)
    assert {name: each for name, each in found.items() if each} == {}
    assert {path.stem for path in pictures.glob(f"*-{scheme}.png")} == {
        f"{name}-{scheme}" for name in found
    }


def test_the_pictures_that_the_readme_shows_are_kept(
    page: Served, browser: Browser, pictures: Path
) -> None:
    with opened(browser, page, viewport={"width": 1100, "height": 860}) as window:
        be_known(window)
        for name in ("job", "review"):
            show(window, VIEWS[name])
            keep_picture(window, pictures / "readme", f"page-{name}", whole=False)
    assert len(list((pictures / "readme").iterdir())) == 2


def test_axe_would_find_a_fault_if_there_was_one(page: Served, browser: Browser) -> None:
    with opened(browser, page) as window:
        show(window, "/jobs")
        window.evaluate("document.querySelector('main').innerHTML += '<input><img src=\"data:,\">'")
        assert {fault.split(":")[0] for fault in faults(window)} >= {"image-alt", "label"}


def test_on_a_telephone_no_view_is_wider_than_the_screen(page: Served, browser: Browser) -> None:
    with opened(browser, page, viewport={"width": 375, "height": 700}) as window:
        be_known(window)
        wide = {}
        for name, path in VIEWS.items():
            show(window, path)
            wide[name] = window.evaluate("document.documentElement.scrollWidth")
    assert {name: width for name, width in wide.items() if width > 375} == {}


def shown_rows(window: Page) -> list[int]:
    cells = window.locator("[aria-label^='Rows of job'] tbody th").all_inner_texts()
    return [int(cell) for cell in cells]


def test_a_million_rows_are_searched_and_paged_through(page: Served, browser: Browser) -> None:
    with opened(browser, page) as window:
        show(window, "/jobs/1")
        assert f"{ROWS:,}" in window.inner_text("main")
        assert shown_rows(window) == list(range(1, 51))
        with window.expect_navigation():
            window.get_by_role("link", name="Next rows").click()
        assert shown_rows(window) == list(range(51, 101))
        window.get_by_label("text has").fill("needle in the HAY")
        window.get_by_role("button", name="Show").click()
        window.wait_for_url("**words=needle*")
        assert shown_rows(window) == [ROWS - 10]
        window.get_by_role("link", name="Clear").click()
        window.get_by_label("confidence from").fill("0.999")
        window.get_by_label("order").select_option("confidence")
        window.get_by_role("button", name="Show").click()
        window.wait_for_url("**at_least=0.999*")
        pages, seen = 0, []
        while True:
            seen += shown_rows(window)
            pages += 1
            following = window.get_by_role("link", name="Next rows")
            if pages == 4 or not following.count():
                break
            with window.expect_navigation():
                following.click()
        assert (len(seen), len(set(seen))) == (200, 200)
        # All the labels of all rows, and none is left out.
        window.goto("/jobs/1")
        window.locator("#mix").wait_for()
        counts = window.locator(".bars td.number:nth-child(3)").all_inner_texts()
        assert sum(int(count.replace(",", "")) for count in counts) == ROWS


def test_what_drifts_is_marked(page: Served, browser: Browser, settings: dict[str, str]) -> None:
    with opened(browser, page) as window:
        # The made job is of the first of March.
        window.goto("/drift/emotion/1")
        days = window.locator("[aria-label='Stability index by day'] tbody th").all_inner_texts()
        assert len(days) == 14
        back = (date.fromisoformat(days[0]) - date(2026, 3, 1)).days
        window.goto(f"/drift/emotion/1?back={back}")
        row = window.locator("tr").filter(has_text="2026-03-01")
        cells = row.locator("td").all_inner_texts()
        assert cells[0] == f"{ROWS:,}"
        assert "shifted" in cells[2], (
            "its confidence is spread evenly, that of the reference is not"
        )
        assert re.fullmatch(r"\d\.\d{3}( shifted)?", cells[3]), (
            "tokens are counted by the starter's own"
        )
