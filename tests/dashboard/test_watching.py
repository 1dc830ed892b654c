"""A job runs while its page is open, and the numbers move without a reload."""

import csv
import io
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from playwright.sync_api import Browser

from tests.cluster import Cluster
from tests.dashboard.pages import Served, opened

ROWS = 3000


@pytest.fixture
def rows_file(tmp_path: Path) -> Path:
    path = tmp_path / "rows.csv"
    path.write_text(
        "id,text\n"
        + "".join(f"{n},number {n} of many\n" for n in range(1, ROWS + 1))
        + f"{ROWS + 1},\n"
    )
    return path


def number(words: str) -> int:
    return int(words.replace(",", ""))


def test_the_numbers_of_a_job_move_while_it_runs(
    cluster: Cluster, page: Served, browser: Browser, rows_file: Path
) -> None:
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash", LABELSTREAM_ENGINE_PACE="0.003")
    with opened(browser, page) as window:
        window.goto("/")
        assert "Nothing runs" in window.inner_text("main")
        window.evaluate("window.notReloaded = true")
        job = cluster.start_producer("ingest", rows_file, "--wait", "--json")
        seen = set()
        cell = window.locator("#labeled-1")
        cell.wait_for()
        while job.poll() is None:
            if cell.count():
                seen.add(number(cell.inner_text()))
            window.wait_for_timeout(300)
        _, err = job.communicate(timeout=60)
        assert job.returncode == 0, err
        assert len(seen) >= 3, "more than the beginning and the end"
        assert window.evaluate("window.notReloaded") is True
        window.get_by_text("Nothing runs").wait_for()
        main = window.inner_text("main")
        assert "text-hash" in main
        assert "w0@test" in main
        # The line of the last ten minutes has those rows, whose points are over soon.
        window.goto("/jobs/1")
        assert number(window.inner_text("#labeled")) == ROWS
        window.locator("#mix").wait_for()
        mix = cluster.rows("SELECT label, count(*) FROM labeled_texts GROUP BY label")
        for label, count in mix:
            row = window.locator(".bars tr").filter(has_text=label)
            assert f"{count:,}" in row.inner_text()
        with window.expect_navigation():
            window.get_by_role("link", name="1", exact=True).last.click()
        assert "empty text" in window.inner_text("main")


def test_rows_are_found_by_words_label_confidence_and_doubt_and_downloaded(
    cluster: Cluster, page: Served, browser: Browser, rows_file: Path
) -> None:
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    cluster.ingest(rows_file)
    with opened(browser, page) as window:
        window.goto("/jobs/1")
        window.get_by_label("text has").fill("NUMBER 29")
        window.get_by_label("label", exact=True).fill("joy")
        # What is read next does not wait for the page by itself.
        with window.expect_navigation():
            window.get_by_role("button", name="Show").click()
        wanted = cluster.rows(
            "SELECT row_number FROM labeled_texts WHERE text LIKE '%number 29%' AND label = 'joy'"
            " ORDER BY row_number"
        )
        shown = [
            number(cell)
            for cell in window.locator("[aria-label^='Rows of job'] tbody th").all_inner_texts()
        ]
        assert shown == [row for (row,) in wanted]
        assert 0 < len(shown) < 50
        with window.expect_download() as saved:
            window.get_by_role("link", name="These as CSV").click()
        lines = list(csv.reader(io.StringIO(Path(saved.value.path()).read_text())))
        assert [int(line[0]) for line in lines[1:]] == shown
        with window.expect_download() as saved:
            window.get_by_role("link", name="These as Parquet").click()
        table = pq.read_table(saved.value.path())
        assert table["row"].to_pylist() == shown
        assert set(table["label"].to_pylist()) == {"joy"}
    status, headers, words = page.ask("GET", "/jobs/1/rows.csv")
    assert status == 200
    assert headers["content-disposition"] == 'attachment; filename="job-1.csv"'
    assert len(list(csv.reader(io.StringIO(words)))) == ROWS + 1
