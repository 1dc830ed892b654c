"""`make bench`: it runs, and its table, its files and its picture say what was measured."""

import csv
import importlib.util
import json
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import psutil
import pytest

from benchmarks.end_to_end import ALONE, ENGINES, FORGETTING, REMEMBERING, WAY, steps
from benchmarks.ground import chosen_texts, with_repeats
from benchmarks.peaks import end_all
from benchmarks.picture import INK, picture
from benchmarks.roofline import Roofline, flop_a_row
from benchmarks.speed_table import Line, Repeats, Table, in_markdown, lines
from benchmarks.ways import Ground, Ours, Run, Way, hit_rate
from tests.training.html_page import chart_words
from tests.worker.versions import version
from training.data import read_data

ROOT = Path(__file__).parents[2]

#: Labels of the starter, each with words that tell it.
TOLD_BY = {"joy": "happy and glad", "sadness": "sad and lonely", "anger": "angry and annoyed"}


def write_data(folder: Path, sizes: dict[str, int]) -> None:
    """Write label files of so many distinct texts each."""
    folder.mkdir()
    number = 0
    for split, size in sizes.items():
        rows = []
        for _ in range(size):
            number += 1
            label = list(TOLD_BY)[number % len(TOLD_BY)]
            rows.append((f"day {number}: i feel {TOLD_BY[label]} about it", label))
        with (folder / f"{split}.csv").open("w", newline="") as output:
            csv.writer(output).writerows([("text", "label"), *rows])


def run(
    seconds: float, labels: dict[str, str], first: float | None = 1.0, peak: float = 100
) -> Run:
    return Run(loading=2.0, seconds=seconds, first=first, peak_mib=peak, labels=labels)


def way(name: str, skipped: str | None = None, *, ours: bool = False) -> Way:
    def never(ground: Ground, folder: Path) -> Run:
        raise AssertionError("nothing is run here")

    return Way(name, never, skipped, ours)


def table(*found: Line, int8_gops: float | None = 1180.0) -> Table:
    return Table(
        rows=1000,
        held_out=300,
        cpus=2,
        rounds=3,
        tokens_a_row=22.0,
        roofline=Roofline(472.0, 300.7, int8_gops),
        lines=list(found),
        alone=[],
        repeated=0.3,
        repeats=[Repeats("ours", 200.0, 280.0, 0.04, 0.3)],
    )


def test_it_runs_and_writes_the_table_as_json_and_a_picture(tmp_path: Path) -> None:
    write_data(tmp_path / "data", {"train": 30, "validation": 6, "test": 4})
    wanted, drawn = tmp_path / "figures" / "speed.json", tmp_path / "figures" / "speed.svg"
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.end_to_end", tmp_path / "data", "--rows", "20",
         "--rounds", "1", "--peers", "pandas", "ray", "--engines", "torch", "--side", "256",
         "--json", wanted, "--picture", drawn],
        cwd=ROOT, capture_output=True, text=True, timeout=280, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    told = json.loads(wanted.read_text())
    assert (told["rows"], told["held_out"], told["rounds"]) == (20, 10, 1)
    pandas, ray, ours = told["lines"]
    assert (pandas["ours"], ray["ours"], ours["ours"]) == (False, False, True)
    assert (ray["skipped"] is None) == (importlib.util.find_spec("ray") is not None)
    for line in (pandas, ours):
        assert line["as_fp32"] == line["held_out_as_fp32"] == 1.0
        assert line["accuracy"] == 1.0, "the starter knows words as plain as these"
        assert min(line[key] for key in ("rows_per_second", "loading", "first", "peak_mib")) > 0
    assert pandas["ratio"] == 1.0
    [alone] = told["alone"]
    assert alone["engine"] == "torch"
    assert alone["share"] == pytest.approx(ours["rows_per_second"] / alone["rows_per_second"])
    [repeats] = told["repeats"]
    # 6 of 20 rows: of one chunk, so that they are computed once without remembering too.
    assert repeats["hit_rate"] == repeats["hit_rate_remembering"] == 0.3
    assert told["roofline"]["fp32_rows_per_second"] > 0
    assert ours["way"] in chart_words(ElementTree.fromstring(drawn.read_text()))  # noqa: S314
    assert ours["way"] in done.stdout


def test_only_where_texts_repeat_is_remembering_measured_beside_forgetting() -> None:
    found = steps({"torch": ENGINES["torch"], "ray": way("ray", "not here")}, ["torch"])
    assert list(found) == [
        (WAY, "torch"), (ALONE, "torch"), (FORGETTING, "torch"), (REMEMBERING, "torch"),
    ]  # fmt: skip
    assert found[WAY, "torch"] == Ours("torch", repeating=False, cache_mb=0)
    assert found[FORGETTING, "torch"] == Ours("torch", repeating=True, cache_mb=0)
    assert found[REMEMBERING, "torch"] == Ours("torch", repeating=True, cache_mb=64)


def test_a_line_has_the_median_the_ratio_to_the_first_and_the_share_of_labels() -> None:
    fp32 = {"1": "joy", "2": "anger", "3": "joy", "4": "love"}
    truth = {"1": "joy", "2": "fear"}
    ways = {"pandas": way("theirs"), "ray": way("ray", "not here"), "torch": way("ours", ours=True)}
    runs = {
        "pandas": [
            run(10.0, {}, first=3.0, peak=90),
            run(40.0, {}, first=None, peak=80),
            # One label of four is another, and it is right.
            run(20.0, fp32 | {"2": "fear"}, first=5.0, peak=70),
        ],
        "torch": [run(5.0, fp32), run(4.0, fp32), run(8.0, fp32)],
    }
    theirs, ray, ours = lines(ways, runs, 100, truth)
    assert (theirs.rows_per_second, theirs.ratio) == (5.0, 1.0)
    assert (theirs.as_fp32, theirs.held_out_as_fp32, theirs.accuracy) == (0.75, 0.5, 1.0)
    assert (theirs.loading, theirs.first, theirs.peak_mib) == (2.0, 4.0, 90)
    assert ray == Line("ray", ours=False, skipped="not here")
    assert (ours.rows_per_second, ours.ratio, ours.as_fp32, ours.accuracy) == (20.0, 4.0, 1.0, 0.5)


def test_without_fp32_or_labelled_texts_a_line_says_nothing_of_them() -> None:
    [line] = lines({"auto": way("ours")}, {"auto": [run(5.0, {"1": "joy"})]}, 10, {})
    assert (line.as_fp32, line.held_out_as_fp32, line.accuracy) == (None, None, None)
    assert "| ours | 2      | 1.00  |         |          |          | 2.0 s " in in_markdown(
        table(line)
    )


def test_what_is_skipped_stands_in_the_table_with_its_reason() -> None:
    shown = in_markdown(table(Line("a", True, None, 20.0), Line("ray", False, "not installed")))
    assert "\n| a   | 20     |       |" in shown, "the reason makes no column wider"
    assert "\n| ray | skipped: not installed |\n" in shown
    assert "301 GFLOP/s in fp32: 637 rows/s; 1,180 GOP/s in 8 bits: 2,500 rows/s" in shown
    assert "| ours | 200                        | 4.0%     | 280                 | 30.0%" in shown
    assert "8 bits: not on this processor" in in_markdown(table(int8_gops=None))


def test_a_picture_has_a_bar_and_a_figure_for_each_way_and_the_roofline() -> None:
    found = (
        Line("theirs", False, None, 135.4),
        Line("ray", False, "no"),
        Line("ours", True, None, 1832.0),
    )
    words = chart_words(ElementTree.fromstring(picture(table(*found))))  # noqa: S314
    assert {"theirs", "135", "ours", "1,832"} <= set(words)
    assert "ray" not in words
    assert {"roofline fp32: 637", "roofline int8: 2,500"} <= set(words)
    assert "rows/s, from the first row read to the last commit" in words
    words = chart_words(ElementTree.fromstring(picture(table(*found, int8_gops=None))))  # noqa: S314
    assert [word for word in words if word.startswith("roofline")] == ["roofline fp32: 637"]


@pytest.mark.parametrize("page", ["#ffffff", "#0d1117"])
def test_the_words_of_a_picture_can_be_read_on_a_light_page_and_on_a_dark_one(page: str) -> None:
    drawn = picture(table(Line("ours", True, None, 20.0)))
    words = ElementTree.fromstring(drawn).findall(".//{*}text")  # noqa: S314
    assert words
    # Without a colour of its own a word is black.
    for word in words:
        assert f"fill: {INK}" in word.get("style", "") or (word.text or "").startswith("roofline")
    lighter, darker = sorted((luminance(INK), luminance(page)), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) > 4


def luminance(colour: str) -> float:
    """Return the relative luminance of WCAG 2."""
    shares = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_of_the_repeating_file_thirty_in_a_hundred_rows_have_an_earlier_text() -> None:
    texts = [f"text {number}" for number in range(200)]
    rows = with_repeats(texts, 0.3, seed=7)
    assert len(rows) == 200
    assert sum(text in rows[:place] for place, text in enumerate(rows)) == 60
    assert list(dict.fromkeys(rows)) == texts[:140]
    assert with_repeats(texts, 0.3, seed=8) != rows


def test_validation_and_test_texts_come_first_each_once_with_its_first_label(
    tmp_path: Path,
) -> None:
    splits = {
        "train": [("one", "joy"), ("two", "anger"), ("two", "anger"), ("three", "joy")],
        "validation": [("four", "anger"), ("one", "anger")],
        "test": [("four", "joy"), ("five", "joy")],
    }
    for name, rows in splits.items():
        with (tmp_path / f"{name}.csv").open("w", newline="") as output:
            csv.writer(output).writerows([("text", "label"), *rows])
    data = read_data(str(tmp_path))
    starter = version(labels=("anger", "fear", "joy"))
    texts, truth = chosen_texts(starter, data, 4)
    assert texts == ["four", "one", "five", "two"]
    assert truth == {"1": "anger", "2": "anger", "3": "joy"}


def test_a_row_of_22_tokens_takes_the_starter_472_mflop() -> None:
    config = {
        "hidden_size": 384,
        "intermediate_size": 1536,
        "num_hidden_layers": 6,
        "id2label": dict.fromkeys("012345"),
    }
    assert flop_a_row(config, [22]) == 471_900_672
    # Attention grows with the square of the length: 6 layers, 4 x 384 x 12^2 more.
    assert flop_a_row(config, [10, 34]) == 471_900_672 + 6 * 4 * 384 * 144


def test_the_hit_rate_is_that_of_a_workers_last_line() -> None:
    log = "… computed: rows=10 hit_rate=0.250 cache_mib=0.1\n… computed: rows=20 hit_rate=0.300 c"
    assert hit_rate(log) == 0.3
    assert hit_rate("a worker that was killed\n") is None


def test_what_a_peer_leaves_running_is_killed() -> None:
    ended = subprocess.Popen([sys.executable, "-c", "pass"])
    left = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        end_all({psutil.Process(ended.pid), psutil.Process(left.pid)}, seconds=0.1)
        assert left.wait(60) == -9
    finally:
        left.kill()
        ended.wait(60)
