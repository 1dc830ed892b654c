"""How long each view of the page takes in a job of a million rows, and what the page costs a job.

`python -m benchmarks.page [--rows 1000000] [--rounds 3]`, of two tables:

views      each view in headless Chromium, from the click until all its parts are there and nothing is
           fetched any more but what is fetched every two seconds; on SQLite and on PostgreSQL
pipeline   a job beside which nobody looks, and one whose page is open in that browser, on this very
           machine, by turns: with the engine `constant`, where the pipeline is all there is, and with the
           starter in 8 bits

`--tables` chooses among them. Medians of the rounds.
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from playwright.sync_api import Browser, Page, sync_playwright

from benchmarks.postgres import postgres_database, postgres_server
from benchmarks.scale_runs import labelled, nothing_beside, prepared
from db.migrate import upgrade
from db.registry.local_artifacts import LocalArtifacts
from db.store import Store
from tests.cluster import Cluster
from tests.dashboard.large_job import DAY, fill, fill_running
from tests.dashboard.pages import Served, browser_path, opened, served, sign_in
from worker.starter import ensure_starter

#: What a view may take, in seconds.
GOAL_SECONDS = 1.5

#: Each view of a large job by what is looked at; {back}: the days since the job.
VIEWS = {
    "now": "/",
    "a job and its pictures": "/jobs/1",
    "rows of a label": "/jobs/1?label=love",
    "least confident first": "/jobs/1?order=confidence",
    "a page in the middle": "/jobs/1?after=500000",
    "words in one row of all": "/jobs/1?words=needle",
    "words in none": "/jobs/1?words=nothing+is+like+it",
    "words, least confident first": "/jobs/1?words=lovely&order=confidence",
    "unsure rows of a label": "/jobs/1?label=joy&unsure=1",
    "review of a job": "/review/1",
    "a row to review": "/review/1/row?strategy=uncertain",
    "a row at random": "/review/1/row?strategy=random",
    "a row of a label": "/review/1/row?strategy=stratified&label=fear",
    "versions side by side": "/models/emotion",
    "drift": "/drift/emotion/1?back={back}",
}

#: Chunks of the job that runs while the views are looked at.
RUNNING_CHUNKS = 20_000

#: Rows of a job by the engine.
PIPELINE_ROWS = {"constant": 600_000, "openvino": 6_000}


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument(
        "--tables", nargs="+", choices=("views", "pipeline"), default=["views", "pipeline"]
    )
    asked = parser.parse_args()
    path = browser_path()
    if path is None:
        raise SystemExit(
            "no Chromium: install chromium, or set LABELSTREAM_TEST_CHROMIUM to its path"
        )
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        if "views" in asked.tables:
            show_views(browser, asked.rows, asked.rounds)
        if "pipeline" in asked.tables:
            show_pipeline(browser, asked.rounds)
        browser.close()


def show_views(browser: Browser, rows: int, rounds: int) -> None:
    """Print the table of the views."""
    taken: dict[str, dict[str, float]] = {}
    with ExitStack() as stack:
        for database in ("SQLite", "PostgreSQL"):
            folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labelstream-")))
            url = f"sqlite:///{folder / 'store.db'}"
            if database == "PostgreSQL":
                url = stack.enter_context(postgres_database(folder, durable=True))
            taken[database] = of_database(browser, folder, url, rows, rounds)
    print(f"views of a job of {rows:,} rows; seconds, medians of {rounds} rounds")
    print(f"{'view':34}" + "".join(f"{database:>12}" for database in taken))
    for name in VIEWS:
        print(f"{name:34}" + "".join(f"{each[name]:12.2f}" for each in taken.values()))
    longest = max(max(each.values()) for each in taken.values())
    print(f"the longest takes {longest:.2f} s (goal: {GOAL_SECONDS})")


def of_database(
    browser: Browser, folder: Path, url: str, rows: int, rounds: int
) -> dict[str, float]:
    """Return the median seconds of each view on one database."""
    store = Store(url)
    upgrade(store)
    ensure_starter(store, LocalArtifacts(folder / "registry"))
    fill(store, rows)
    fill_running(store, RUNNING_CHUNKS)
    if store.dialect == "postgresql":
        # As autovacuum leaves a table that has been there for a while.
        with store.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM (ANALYZE)")
    store.close()
    settings = {
        "LABELSTREAM_DATABASE_URL": url,
        "LABELSTREAM_HOME_DIR": str(folder / "home"),
        "LABELSTREAM_REGISTRY_DIR": str(folder / "registry"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in VIEWS}
    for _ in range(rounds):
        # A page of its own in each round: nothing of a job is known yet.
        with served(settings) as page, opened(browser, page) as window:
            sign_in(window, "/review/1")
            window.get_by_label("Your name").fill("bench")
            window.get_by_role("button", name="That is me").click()
            back = (datetime.now(UTC).date() - DAY).days
            for name, path in VIEWS.items():
                seconds[name].append(timed(window, path.format(back=back)))
    return {name: statistics.median(each) for name, each in seconds.items()}


def timed(window: Page, path: str) -> float:
    """Return the seconds until a view and its parts are there."""
    started = time.perf_counter()
    window.goto(path)
    if "/jobs/1" in path:
        window.locator("#mix").wait_for()
    if "/drift/" in path:
        day = window.locator("tr").filter(has_text=str(DAY))
        assert day.locator("td").first.inner_text() != "0", "a day with rows is what is measured"
    return time.perf_counter() - started


def show_pipeline(browser: Browser, rounds: int) -> None:
    """Print what a page that is open costs a job."""

    @contextmanager
    def watched(cluster: Cluster) -> Iterator[None]:
        with served(cluster.settings) as page, opened(browser, page) as window:
            _watch(window, page)
            yield

    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="labelstream-")))
        server = stack.enter_context(postgres_server(folder, durable=False))
        servers = {"SQLite": None, "PostgreSQL": server}
        ground = stack.enter_context(prepared(servers, merge=True, engine="openvino"))
        print(f"rows/s of a job without and with its page open; medians of {rounds} pairs")
        print(f"{'database':12}{'engine':12}{'without':>10}{'with':>10}{'ratio':>8}")
        ways: dict[str, Callable[..., object]] = {"without": nothing_beside, "with": watched}
        for database, engine in (
            ("SQLite", "constant"),
            ("PostgreSQL", "constant"),
            ("SQLite", "openvino"),
        ):
            rates: dict[str, list[float]] = {name: [] for name in ways}
            for turn in range(rounds):
                for name in sorted(ways, reverse=turn % 2 == 0):
                    threads = 2 if engine == "openvino" else 1
                    run = labelled(
                        ground,
                        database,
                        PIPELINE_ROWS[engine],
                        engine=engine,
                        threads=threads,
                        beside=ways[name],  # type: ignore[arg-type]
                    )
                    rates[name].append(run.rate)
            without, beside = (statistics.median(rates[name]) for name in ways)
            pairs = zip(rates["with"], rates["without"], strict=True)
            ratio = statistics.median(one / other for one, other in pairs)
            print(f"{database:12}{engine:12}{without:10,.0f}{beside:10,.0f}{ratio:8.2f}")


def _watch(window: Page, page: Served) -> None:
    """Open the page where the job will be seen, as somebody who watches it does."""
    window.goto(f"{page.address}/")


if __name__ == "__main__":
    main()
