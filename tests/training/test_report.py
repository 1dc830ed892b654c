"""The page of a version: one file that needs no other, whose figures are the JSON's."""

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from db.registry.versions import list_versions
from db.store import open_store
from tests.training.conftest import Moods
from tests.training.html_page import Page, chart_words
from tests.training.made_evaluations import comparison, evaluation
from tests.training.moods import QUICK, one_torch_thread, read_rows, said, settings_of
from training.mistakes import Mistake, confident_mistakes
from training.report import report_page
from worker import Classifier

ORDER = ("afraid", "calm", "cross")


def folder_of(home: Path, number: int) -> Path:
    store = open_store(settings_of(home))
    adapter = list_versions(store, "mood")[number - 1].adapter
    store.close()
    return home / "registry" / adapter


@pytest.fixture(scope="module")
def pages(moods: Moods) -> list[Page]:
    """The registered pages of `mood:1` and `mood:2`."""
    return [Page((folder_of(moods.home, n) / "report.html").read_text()) for n in (1, 2)]


def four(*figures: float) -> list[str]:
    return [f"{figure:.4f}" for figure in figures]


def shown_figures(page: Page) -> list[str]:
    """The large figures at the top, in their order."""
    names = ("accuracy", "macro-F1", "log loss", "calibration error")
    return [page.texts[page.texts.index(name) - 1] for name in names]


def test_a_page_is_one_file_that_fetches_nothing(pages: list[Page]) -> None:
    for page in pages:
        assert page.fetched() == []
        assert not page.tags & {
            "script",
            "link",
            "iframe",
            "object",
            "embed",
            "base",
            "img",
            "form",
        }
        handlers = {name for _, given in page.elements for name in given if name.startswith("on")}
        assert handlers == set()
        assert ("meta", {"charset": "utf-8"}) in page.elements
        assert len(page.charts) == 3


def test_what_would_be_fetched_is_found() -> None:
    for wrong in (
        '<img src="x.png">',
        '<p><use xlink:href="http://a/b#c"></use></p>',
        '<p clip-path="url(http://a/b#c)"></p>',
        "<p style=\"background: url('//a/b')\"></p>",
        "<style>@import 'a.css';</style>",
    ):
        assert Page(wrong).fetched()
    assert Page('<a href="#here"></a>').fetched() == []


def test_its_figures_are_those_of_the_json(pages: list[Page], moods: Moods) -> None:
    for page, said_of_it in zip(pages, (moods.first, moods.second), strict=True):
        names = ("accuracy", "macro_f1", "log_loss_calibrated", "ece_calibrated")
        assert shown_figures(page) == four(*(said_of_it[name] for name in names))
        assert "Test: 216 rows, engine torch" in page.texts
        assert page.table("label", "precision", "recall", "F1", "rows") == [
            [label, *four(one["precision"], one["recall"], one["f1"]), str(one["support"])]
            for label, one in said_of_it["per_class"].items()
        ]
        confidence = next(text for text in page.texts if text.startswith("The logits are divided"))
        for name in ("temperature", "ece", "ece_calibrated", "log_loss", "log_loss_calibrated"):
            assert f"{said_of_it[name]:.4f}" in confidence
        accuracy = said_of_it["accuracy"]
        error = (accuracy * (1 - accuracy) / 216) ** 0.5
        assert f"The standard error of the accuracy is {error:.4f}." in page.texts


def test_the_confusion_matrix_shows_every_count(pages: list[Page], moods: Moods) -> None:
    words = chart_words(pages[0].charts[0])
    assert {*ORDER, "true", "predicted"} <= set(words)
    numbers = [int(word) for word in words if word.isdigit()]
    assert numbers == [count for row in moods.first["confusion"] for count in row]


def test_the_learning_curve_and_its_table_are_the_epochs(pages: list[Page], moods: Moods) -> None:
    described = json.loads((folder_of(moods.home, 1) / "labelstream.json").read_text())
    rows = pages[0].table("epoch", "training loss", "validation accuracy", "validation macro-F1")
    assert rows == [
        [
            f"{each['epoch']} (chosen)"
            if each["epoch"] == described["epoch"]
            else str(each["epoch"]),
            *four(each["loss"], each["validation_accuracy"], each["validation_macro_f1"]),
        ]
        for each in described["epochs"]
    ]
    assert len(rows) == 10
    words = chart_words(pages[0].charts[2])
    assert {"training loss", "validation", "accuracy", "macro-F1", "chosen", "epoch"} <= set(words)


def test_the_twenty_most_confident_mistakes_are_those_of_the_classifier(
    pages: list[Page], moods: Moods
) -> None:
    rows = read_rows(moods.data / "test.txt")
    with (
        one_torch_thread(),
        Classifier.load("mood:1", settings=settings_of(moods.home)) as classifier,
    ):
        answers = classifier([text for text, _ in rows])
    wrong = {
        text: (label, answer["label"], answer["score"])
        for (text, label), answer in zip(rows, answers, strict=True)
        if answer["label"] != label
    }
    assert len(wrong) > 20
    shown = pages[0].table("text", "in the data", "predicted", "confidence")
    assert len({text for text, *_ in shown}) == 20
    for text, truth, predicted, confidence in shown:
        assert (truth, predicted) == wrong[text][:2]
        assert float(confidence) == pytest.approx(wrong[text][2], abs=1e-4)
    surest = sorted((score for _, _, score in wrong.values()), reverse=True)
    assert [float(row[3]) for row in shown] == pytest.approx(surest[:20], abs=1e-4)


def test_the_version_in_production_stands_beside_it(pages: list[Page], moods: Moods) -> None:
    compared = moods.second["comparison"]
    table = {row[0]: row[1:] for row in pages[1].table("test", "mood:1", "candidate", "change")}
    for name, figure in (("accuracy", "accuracy"), ("macro-F1", "macro_f1")):
        before, after = compared[figure]
        assert table[name] == [*four(before, after), f"{after - before:+.4f}"]
    for label in ORDER:
        before, after = compared["f1"][label]
        assert table[f"F1 {label}"] == [*four(before, after), f"{after - before:+.4f}"]
    assert table["only right there"][:2] == [
        str(compared["only_right_before"]),
        str(compared["only_right_after"]),
    ]
    # The first version had nothing beside it.
    assert not any("Beside" in text for text in pages[0].texts)


def test_evaluate_writes_such_a_page_of_other_data(moods: Moods, tmp_path: Path) -> None:
    file = tmp_path / "page.html"
    arguments = ("evaluate", "mood:1", "--data", moods.data, "--split", "validation")
    found = json.loads(said(moods.home, *arguments, "--report", file, "--json"))
    assert found["report"] == str(file)
    page = Page(file.read_text())
    assert page.fetched() == []
    assert {"mood:1 on data", "Validation: 90 rows, engine torch"} <= set(page.texts)
    names = ("accuracy", "macro_f1", "log_loss_calibrated", "ece_calibrated")
    assert shown_figures(page) == four(*(found[name] for name in names))
    mistakes = page.table("text", "in the data", "predicted", "confidence")
    assert {row[0] for row in mistakes} <= {text for text, _ in read_rows(moods.data / "val.txt")}
    assert len(mistakes) == 90 - sum(found["confusion"][n][n] for n in range(3))


def texts_in(folder: Path, moods: Moods) -> list[str]:
    """The texts of the data that stand in a file of `folder`."""
    rows = [
        row for name in ("train", "val", "test") for row in read_rows(moods.data / f"{name}.txt")
    ]
    files = [file.read_bytes() for file in folder.rglob("*") if file.is_file()]
    assert len(files) > 5
    return [text for text, _ in rows if any(text.encode() in content for content in files)]


def test_without_mistakes_no_text_of_the_data_is_in_any_file(moods: Moods, tmp_path: Path) -> None:
    assert len(texts_in(folder_of(moods.home, 1), moods)) >= 20, "with them some are"
    home = moods.copied(tmp_path / "home")
    options = ("--model", "mood", "--base", moods.base, *QUICK, "--epochs", 1, "--no-mistakes")
    said(home, "fit", "--data", moods.data, *options, "--out", tmp_path / "out")
    assert texts_in(folder_of(home, 3), moods) == []
    assert texts_in(tmp_path / "out", moods) == []
    page = Page((tmp_path / "out" / "report.html").read_text())
    assert not any("mistakes" in text for text in page.texts)
    assert len(page.charts) == 3

    file = tmp_path / "pages" / "page.html"
    file.parent.mkdir()
    arguments = ("evaluate", "mood:1", "--data", moods.data, "--no-mistakes", "--report", file)
    said(home, *arguments)
    assert "most confident mistakes" not in file.read_text()


#: Names that are markup, mathematics or a template elsewhere, and are names here.
ODD = (
    "<script>alert(1)</script>",
    "a & b",
    "$x$",
    "{{ 7*7 }}",
    "--></svg><b>",
    "שלום עולם",
    "مرحبا",
    "日本語",
    "🙂",
)


def about(labels: Sequence[str], **others: Any) -> Mapping[str, Any]:
    """What labelstream.json says of a model that was made elsewhere."""
    standard = {
        "labels": list(labels),
        "base": "a/<base>",
        "base_revision": None,
        "license": None,
        "data": {"name": None},
    }
    return {**standard, **others}


def test_texts_and_labels_are_shown_as_they_are_whatever_they_hold() -> None:
    truth = [n % len(ODD) for n in range(5 * len(ODD))]
    predicted = [(label + (n < len(ODD))) % len(ODD) for n, label in enumerate(truth)]
    measured = evaluation(truth, predicted, ODD)
    texts = [f"{ODD[label]} <img src=x onerror=alert(1)> {n}" for n, label in enumerate(truth)]
    with warnings.catch_warnings():
        # Nothing is said on stderr of characters that this machine has no font for.
        warnings.simplefilter("error")
        source = report_page(
            "<i>name</i>", about(ODD), measured, mistakes=confident_mistakes(measured, texts, ODD)
        )
    page = Page(source)
    assert page.fetched() == []
    assert not page.tags & {"script", "i", "img"}
    assert "<i>name</i>" in page.texts
    assert [row[0] for row in page.table("label", "precision", "recall", "F1", "rows")] == list(ODD)
    mistakes = page.table("text", "in the data", "predicted", "confidence")
    assert sorted(row[:3] for row in mistakes) == sorted(
        [texts[n], ODD[n], ODD[(n + 1) % len(ODD)]] for n in range(len(ODD))
    )
    words = chart_words(page.charts[0])
    shown = [label if len(label) <= 24 else f"{label[:23]}…" for label in ODD]
    assert [word for word in words if word in shown] == [*shown, *shown]
    # Which way a text runs is told by its own letters.
    directions = [given.get("dir") for tag, given in page.elements if given.get("class") == "text"]
    assert directions == ["auto"] * len(ODD)
    # No bold letter but the four figures'.
    assert [tag for tag, _ in page.elements].count("b") == 4


def test_what_is_not_known_is_left_out_or_said() -> None:
    measured = evaluation([0, 1, 1], [0, 1, 1], "ab")
    page = Page(
        report_page(
            "topics",
            about("ab"),
            measured,
            not_compared="topics:1 has other labels: c",
            mistakes=[],
        )
    )
    assert "Not compared: topics:1 has other labels: c." in page.texts
    assert "There is none." in page.texts
    assert any("Terms: not stated." in text for text in page.texts)
    assert "Training" not in page.texts
    assert len(page.charts) == 2
    compared = comparison("ab", [(2, "a", "b"), (2, "b", "b")], [(2, "a", "a"), (2, "b", "b")])
    page = Page(report_page("topics", about("ab"), compared.after, comparison=compared))
    assert "Beside mood:1, on the same rows" in page.texts


def test_the_same_figures_make_the_same_page() -> None:
    measured = evaluation([0, 1, 1, 0], [0, 1, 0, 0], "ab")
    one, other = (report_page("topics", about("ab"), measured) for _ in range(2))
    assert one == other


def test_mistakes_are_wrong_rows_the_most_confident_first() -> None:
    measured = evaluation([0, 1, 0, 1], [0, 0, 1, 1], "ab")
    logits = measured.logits.copy()
    logits[1], logits[2] = (1.0, 0.0), (0.0, 2.0)
    given = replace(measured, logits=logits, temperature=2.0)
    texts = ["right", "less sure", "surest", "right too"]
    found = confident_mistakes(given, texts, "ab")
    assert [replace(each, confidence=0.0) for each in found] == [
        Mistake("surest", "a", "b", 0.0),
        Mistake("less sure", "b", "a", 0.0),
    ]
    # sigmoid(2 / 2) and sigmoid(1 / 2)
    assert [each.confidence for each in found] == pytest.approx([0.7310586, 0.6224593])
    assert len(confident_mistakes(given, texts, "ab", most=1)) == 1
