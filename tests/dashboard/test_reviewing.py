"""People answer by keys alone: every answer is a correction, and one that was wrong is taken back."""

import pytest
from playwright.sync_api import Browser, Page

from tests.cluster import Cluster
from tests.dashboard.pages import Served, opened, sign_in
from tests.db.ledger_parts import change

LABELS = ["sadness", "joy", "love", "anger", "fear", "surprise"]

CORRECTIONS = "SELECT job_id, row_number, label, annotator, strategy FROM corrections ORDER BY id"


@pytest.fixture
def job(cluster: Cluster) -> int:
    """A job of 60 rows with labels of the starter's, of each another confidence."""
    path = cluster.folder / "rows.csv"
    path.write_text("text\n" + "".join(f"today number {n} was quite a day\n" for n in range(60)))
    cluster.start_worker(LABELSTREAM_ENGINE="text-hash")
    job = int(cluster.ingest(path)["job"])
    change(cluster.store, "UPDATE labeled_texts SET confidence = (row_number * 37 % 61) / 61.0")
    return job


def begin(window: Page, job: int, name: str, strategy: str = "uncertain") -> None:
    """Sign in, say who one is, and begin."""
    sign_in(window, f"/review/{job}")
    window.get_by_label("Your name").fill(name)
    window.get_by_role("button", name="That is me").click()
    window.locator(f"input[value={strategy}]").check()
    window.get_by_role("button", name="Begin").click()
    window.locator("#text").wait_for()
    window.wait_for_load_state("load")


def shown_row(window: Page) -> int:
    return int(window.inner_text("#row").removeprefix("Row "))


def press(window: Page, key: str) -> None:
    """Press a key, and wait for the next row."""
    with window.expect_navigation():
        window.keyboard.press(key)
    window.locator("#progress").wait_for()


def model_label(cluster: Cluster, row: int) -> str:
    found = cluster.value("SELECT label FROM labeled_texts WHERE row_number = :row", row=row)
    assert isinstance(found, str)
    return found


def test_twenty_rows_by_keys_alone_are_the_corrections_in_sql(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    labels = cluster.value("SELECT labels FROM model_versions")
    assert all(label in labels for label in LABELS)
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        known = [
            button.get_attribute("value")
            for button in window.locator("[data-key][name=label]").all()
        ]
        keys = {str(place): label for place, label in enumerate(known, start=1)}
        answered: list[tuple[int, str]] = []
        for turn in range(20):
            row = shown_row(window)
            key = str(turn % 6 + 1) if turn % 3 else "Enter"
            label = model_label(cluster, row) if key == "Enter" else keys[key]
            press(window, key)
            assert label is not None
            answered.append((row, label))
        assert "20 answered" in window.inner_text("#progress")
        skipped = shown_row(window)
        press(window, "s")
        assert "1 skipped" in window.inner_text("#progress")
        assert shown_row(window) != skipped
    told = [(job, row, label, "Ada", "uncertain") for row, label in answered]
    assert [tuple(row) for row in cluster.rows(CORRECTIONS)] == told
    least = cluster.rows(
        "SELECT row_number FROM labeled_texts ORDER BY confidence, row_number LIMIT 20"
    )
    assert [row for row, _ in answered] == [row for (row,) in least], "the least confident first"


def test_an_undone_answer_counts_no_more_and_its_row_comes_back(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    counting = "SELECT label, corrected FROM current_labels WHERE row_number = :row"
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        row = shown_row(window)
        said = model_label(cluster, row)
        wrong = next(place for place, label in enumerate(_labels(window), 1) if label != said)
        press(window, str(wrong))
        assert tuple(cluster.rows(counting, row=row)[0])[1] in (True, 1)
        press(window, "u")
        assert shown_row(window) == row
        assert tuple(cluster.rows(counting, row=row)[0]) == (said, False)
        press(window, "s")
        assert "0 answered" in window.inner_text("#progress")
    assert cluster.value("SELECT count(*) FROM corrections WHERE label IS NULL") == 1
    assert cluster.value("SELECT count(*) FROM corrections") == 2, (
        "what was said stays in the table"
    )


def _labels(window: Page) -> list[str | None]:
    return [
        button.get_attribute("value") for button in window.locator("[data-key][name=label]").all()
    ]


def test_two_reviewers_at_once_have_rows_of_their_own_and_overwrite_nothing(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    with opened(browser, page) as one, opened(browser, page) as other:
        begin(one, job, "Ada")
        begin(other, job, "Ben")
        assert shown_row(one) != shown_row(other)
        for _ in range(5):
            press(one, "1")
            press(other, "2")
        # One of them goes back to a row, and says something else of it.
        press(one, "u")
        press(one, "3")
    rows = cluster.rows("SELECT row_number, annotator FROM corrections WHERE label IS NOT NULL")
    by_row: dict[int, set[str]] = {}
    for row, annotator in rows:
        by_row.setdefault(row, set()).add(annotator)
    assert len(by_row) == 10, "no row was given to both"
    first, second = _labels_of(cluster, "Ada"), _labels_of(cluster, "Ben")
    assert (len(first), len(second)) == (5, 5)
    assert len(set(second)) == 1, "what Ben said is as he said it"


def _labels_of(cluster: Cluster, annotator: str) -> list[str]:
    found = cluster.rows(
        "SELECT label FROM current_labels WHERE corrected AND annotator = :annotator",
        annotator=annotator,
    )
    return [label for (label,) in found]


def test_a_random_audit_tells_the_accuracy_with_its_interval(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    with opened(browser, page) as window:
        begin(window, job, "Ada", "random")
        for _ in range(9):
            press(window, "Enter")
        said = model_label(cluster, shown_row(window))
        press(window, str(next(n for n, label in enumerate(_labels(window), 1) if label != said)))
        window.goto(f"/review/{job}")
        main = window.inner_text("main")
    # Wilson's interval of 9 right in 10: 0.5958 to 0.9821.
    assert "90.0 %" in main
    assert "59.6 % to 98.2 %" in main
    assert cluster.value("SELECT count(*) FROM corrections WHERE strategy = 'random'") == 10


def test_keys_do_nothing_while_somebody_writes(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        row = shown_row(window)
        # No page has both; one that will have is safe.
        window.evaluate("document.querySelector('main').append(document.createElement('input'))")
        window.locator("main > input").press_sequentially("s1u")
        window.wait_for_timeout(300)
        assert window.locator("main > input").input_value() == "s1u"
        assert shown_row(window) == row
    assert cluster.value("SELECT count(*) FROM corrections") == 0


def test_an_undo_brings_back_what_one_said_of_the_row_before(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    # Nothing but one row is there to be drawn.
    change(cluster.store, "UPDATE labeled_texts SET text = NULL WHERE row_number <> 7")
    counting = "SELECT label, annotator FROM current_labels WHERE row_number = 7 AND corrected"
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        labels = _labels(window)
        press(window, "1")
        window.goto(f"/review/{job}/row?strategy=random")
        assert shown_row(window) == 7
        press(window, "2")
        assert tuple(cluster.rows(counting)[0]) == (labels[1], "Ada")
        press(window, "u")
        assert tuple(cluster.rows(counting)[0]) == (labels[0], "Ada")
        # What was said already is no news, and its undo takes nothing away.
        press(window, "1")
        press(window, "u")
        assert tuple(cluster.rows(counting)[0]) == (labels[0], "Ada")


def test_what_was_purged_is_shown_to_nobody(
    cluster: Cluster, page: Served, browser: Browser, job: int
) -> None:
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        text = window.inner_text("#text")
        assert cluster.producer("purge", str(job), "--yes").returncode == 0
        window.reload()
        assert text not in window.inner_text("body")
        assert "was purged" in window.inner_text("main")


def test_after_each_answer_the_row_has_the_focus_and_the_title_names_it(
    page: Served, browser: Browser, job: int
) -> None:
    with opened(browser, page) as window:
        begin(window, job, "Ada")
        press(window, "1")
        assert f"row {shown_row(window)}" in window.title()
        assert window.locator("[data-focus]").count() == 1
