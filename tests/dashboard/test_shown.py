"""What the pages say where there is little to say, or no more: gaps, few rows, purged jobs."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest

from dashboard import drawing
from dashboard.figures.days import CountTokens
from dashboard.views import drift
from db.ledger.stopping import purge
from db.registry.names import ModelRef
from db.registry.versions import Version, add_version, resolve
from db.store import Store
from tests.dashboard.asked import Asked, made_site
from tests.dashboard.large_job import DAY, LABELS, fill, fill_running
from tests.db.ledger_parts import add, begin, change
from tests.db.models import new_version

REFERENCE = {
    "split": "test",
    "rows": 2000,
    "labels": {"joy": 680, "sadness": 580, "anger": 280, "fear": 240, "love": 160, "surprise": 60},
    "confidence": [0] * 4 + [125] * 16,
    "tokens": {"counts": [2000] + [0] * 14},
}


@pytest.fixture
def page(store: Store, tmp_path: Path) -> Asked:
    return Asked(made_site(store, tmp_path))


def filled(store: Store, rows: int) -> None:
    version = new_version(labels=LABELS, adapter="folder-1", reference=REFERENCE)
    add_version(store, version, who="a test")
    fill(store, rows)


def drift_of_the_day() -> str:
    back = (datetime.now(UTC).date() - DAY).days
    return f"/drift/emotion/1?back={back}"


def cells_of_the_day(words: str) -> list[str]:
    row = re.search(rf'<tr><th scope="row">{DAY}</th>(.*?)</tr>', words)
    assert row is not None
    cells = re.findall(r"<td[^>]*>(.*?)</td>", row[1])
    return [re.sub("<.*?>", "", cell) for cell in cells]


def polygons(picture: str) -> list[list[tuple[float, float]]]:
    found = re.findall(r'<polygon class="c\d edge" points="([^"]*)"', picture)
    return [[tuple(map(float, p.split(","))) for p in points.split()] for points in found]  # type: ignore[misc]


def test_areas_stand_where_their_time_is_and_nothing_where_there_was_none() -> None:
    shares = {"joy": [0.5, 0.25, 1.0], "fear": [0.5, 0.75, 0.0]}
    picture = drawing.stacked(
        [0.05, 0.15, 0.95], 0.1, shares, {"joy": 0, "fear": 1}, "a <title>", {2}
    )
    drawn = polygons(picture)
    assert len(drawn) == 4, "two labels, before and after the gap"
    across = [(min(x for x, _ in each), max(x for x, _ in each)) for each in drawn]
    assert across == [(0, 120), (0, 120), (540, 600), (540, 600)]
    # The middle of the second point is at 0.15 of the width; joy is below, a quarter of the height.
    assert (90.0, 90.0) in drawn[0]
    assert (90.0, 0.0) in drawn[1]
    assert "a &lt;title&gt;" in picture
    one = polygons(drawing.stacked([0.5], 1.0, {"joy": [1.0]}, {"joy": 0}, "one moment"))
    assert {x for x, _ in one[0]} == {0, 300, 600}


def test_pictures_of_labels_stand_beside_tables_that_say_the_same(
    store: Store, page: Asked
) -> None:
    filled(store, 5000)
    status, words = page.get("/jobs/1/labels")
    assert status == 200
    tables = re.findall(r"<details.*?</details>", words, re.DOTALL)
    assert [len(re.findall("<tr>", table)) for table in tables] == [21, 11]
    assert "0.95 to 1.00" in tables[0]
    assert words.count(" edge") == 6


def test_labels_without_a_course_are_shown_without_one(store: Store, page: Asked) -> None:
    filled(store, 500)
    change(store, "DELETE FROM labeled_texts WHERE row_number > 1")
    change(store, "UPDATE labeled_texts SET row_number = 1000000")
    status, words = page.get("/jobs/1/labels")
    assert status == 200
    assert "None of the rows that were looked at has a label yet" in words
    assert 'id="mix"' in words


def test_the_page_of_a_stream_is_that_of_the_ledger(store: Store, page: Asked) -> None:
    job = fill_running(store, 100)
    for path in ("/", "/now"):
        status, words = page.get(path)
        assert status == 200
        assert f'id="labeled-{job}">25,000<' in words
    change(store, "UPDATE chunks SET labeled = 250, state = 'done' WHERE number = 101")
    assert f'id="labeled-{job}">25,250<' in page.get("/now")[1]
    assert 'id="labeled">25,250<' in page.get(f"/jobs/{job}/now")[1]
    assert "25,250" in page.get("/jobs")[1]


def test_a_text_that_is_cut_says_so(store: Store, page: Asked) -> None:
    filled(store, 250)
    change(store, "UPDATE labeled_texts SET text = :long WHERE row_number = 1", long="y" * 2000)
    words = page.get("/jobs/1")[1]
    assert re.search(r"[^y]y{500}… <span", words)
    assert words.count("cut here") == 1
    assert "y" * 2000 in page.get("/jobs/1/rows.csv")[1]


def test_of_a_purged_job_nothing_is_shown_that_was_known_before(store: Store, page: Asked) -> None:
    filled(store, 5000)
    rejects = begin(store, identity="rejects").job
    assert "joy" in page.get("/jobs/1/labels")[1]
    assert cells_of_the_day(page.get(drift_of_the_day())[1])[0] == "5,000"
    purge(store, 1)
    words = page.get("/jobs/1")[1]
    assert "This job was purged" in words
    assert "5,000" in words, "its counts stay"
    assert "/labels" not in words
    labels = page.get("/jobs/1/labels")[1]
    assert "joy" not in labels
    assert "purged" in labels
    assert "purged" in page.get("/jobs/1/rejects")[1]
    assert cells_of_the_day(page.get(drift_of_the_day())[1]) == ["0", "–", "–", "–"]
    for ending in ("csv", "parquet"):
        status, words = page.get(f"/jobs/1/rows.{ending}")
        assert status == 400
        assert "was purged" in words
    assert "Every row has a label, or waits" in page.get(f"/jobs/{rejects}/rejects")[1]


@pytest.mark.parametrize("ending", ["csv", "parquet"])
def test_a_download_of_a_job_that_is_purged_meanwhile_breaks_off(
    store: Store, page: Asked, ending: str
) -> None:
    # More parts than are read ahead of what is sent.
    filled(store, 20_000)
    came: list[bytes] = []

    def purge_once(part: bytes) -> None:
        if not came:
            purge(store, 1)
        came.append(part)

    with pytest.raises(Exception, match=r"purged meanwhile|already started"):
        page.get(f"/jobs/1/rows.{ending}", purge_once)
    assert came
    assert not b"".join(came).endswith(b"PAR1")


def test_few_rows_of_a_day_are_said_to_be_few(store: Store, page: Asked) -> None:
    filled(store, 5000)
    cells = cells_of_the_day(page.get(drift_of_the_day())[1])
    assert cells[0] == "5,000"
    assert all(re.fullmatch(r"0\.0\d\d", cell) for cell in cells[1:3]), cells
    change(store, "DELETE FROM labeled_texts WHERE row_number > 20")
    change(store, "UPDATE labeled_texts SET label = 'love', confidence = 0.21")
    fresh = Asked(made_site(store, Path("nowhere")))
    words = fresh.get(drift_of_the_day())[1]
    assert cells_of_the_day(words) == ["20", "too few rows", "too few rows", "–"]
    assert "too few rows to compare" in words
    assert " shifted<" not in words


def test_a_tokenizer_is_loaded_once_a_version(
    sqlite_store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []
    views = drift.DriftViews(made_site(sqlite_store, tmp_path))

    def load(version: Version, *_: object) -> CountTokens:
        loaded.append(str(version))
        return lambda texts: [len(text) for text in texts]

    monkeypatch.setattr(views, "_loaded", load)
    hashes = {"tokenizer.json": "2" * 64, "config.json": "3" * 64}
    versions = []
    for number in range(1, 7):
        new = new_version(adapter=f"folder-{number}")
        add_version(sqlite_store, new, who="a test")
        found = resolve(sqlite_store, ModelRef("emotion", None, number))
        versions.append(Version(**{**vars(found), "merged_sha256": hashes, "merged": "merged"}))
    for _ in range(3):
        assert views._reader(versions[0]) is not None
    assert loaded == ["emotion:1"]
    for version in versions:
        views._reader(version)
    assert len(views._readers) == 4
    assert loaded == [f"emotion:{number}" for number in range(1, 7)]


def test_a_rejected_row_is_still_linked_while_it_is_there(store: Store, page: Asked) -> None:
    job = begin(store)
    add(job, 1, 2, rejected=3)
    assert f'href="/jobs/{job.job}/rejects">3<' in page.get(f"/jobs/{job.job}")[1]
