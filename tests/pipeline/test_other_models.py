"""Other bases, label sets and languages by the same commands, side by side in one installation."""

import json
import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from db.registry.names import parse_ref
from db.registry.versions import resolve
from tests.cluster import Cluster, wait_until
from tests.foreign_models import pipeline_labels, roberta_base
from tests.pipeline.made_versions import merged
from tests.training.moods import said, write_splits
from worker import Classifier

#: Words that tell a label, by the label, of three models that have nothing in common.
TONES = {"good": ("happy", "glad", "sunny"), "bad": ("sad", "grey", "angry")}
SHADES = {f"shade {n:02}": (f"hue{n:02}",) for n in range(28)}
FEELINGS = {
    "радость": ("радость", "солнце", "嬉しい"),
    "怒り": ("злость", "怒り", "θυμός"),
    "φόβος": ("страх", "怖い", "φόβος"),
}
FILLING = ("i", "am", "so", "very", "today", "я", "сегодня", "очень", "今日", "είμαι", "και")

#: A fit of a moment. What it learns is not much, but its labels differ from text to text.
QUICK = (
    "--epochs", 3, "--batch-size", 16, "--max-length", 32, "--learning-rate", 0.003,
)  # fmt: skip

Rows = list[tuple[str, str]]


def rows_of(labels: Mapping[str, Sequence[str]], count: int, seed: int) -> Rows:
    """Return texts with one telling word each, all labels by turns."""
    pick = random.Random(seed)
    names = list(labels)
    rows = []
    for number in range(count):
        label = names[number % len(names)]
        words = [pick.choice(FILLING) for _ in range(pick.randint(2, 6))]
        words.insert(pick.randrange(len(words) + 1), pick.choice(labels[label]))
        rows.append((f"{' '.join(words)} {seed}-{number}", label))
    return rows


@dataclass(frozen=True)
class Installation:
    """One registry and database with a worker that serves whatever is asked for."""

    cluster: Cluster
    base: Path
    folder: Path

    def training(self, *arguments: object) -> str:
        """Run a `training` command that must succeed."""
        given = self.cluster.settings
        return said(
            Path(given["LABELSTREAM_HOME_DIR"]),
            *arguments,
            database_url=given["LABELSTREAM_DATABASE_URL"],
            registry_dir=given["LABELSTREAM_REGISTRY_DIR"],
        )

    def fit(self, model: str, labels: Mapping[str, Sequence[str]], *options: object) -> Any:
        """Fit a version of `model` by the one command that all models are fitted by."""
        data = self.folder / model
        if not data.exists():
            a_label = len(labels)
            write_splits(
                data,
                train=rows_of(labels, max(64, 8 * a_label), 1),
                val=rows_of(labels, 4 * a_label, 2),
                test=rows_of(labels, 4 * a_label, 3),
            )
        return json.loads(
            self.training(
                "fit", "--data", data, "--model", model, "--base", self.base, *QUICK, *options,
                "--json",
            )
        )  # fmt: skip

    def merge(self, version: str) -> None:
        """Merge a version here; the worker would do so in a process of its own."""
        merged(self.cluster, resolve(self.cluster.store, parse_ref(version)))

    def serve(self, model: str, rows: Rows) -> tuple[Mapping[str, Any], list[Any]]:
        """Ingest the texts of `rows`; return the summary, and what stands in the table."""
        path = self.folder / f"{model.replace(':', '-')}-{rows[0][0].rpartition(' ')[2]}.csv"
        path.write_text("text\n" + "".join(f"{text}\n" for text, _ in rows), encoding="utf-8")
        result = self.cluster.ingest(path, "--model", model)
        query = "SELECT * FROM labeled_texts WHERE job_id = :job ORDER BY row_number"
        return result, list(self.cluster.rows(query, job=result["job"]))

    def check(self, version: str, rows: Rows, found: Sequence[Any]) -> None:
        """Assert that each row is labelled as `version` labels it, and says so."""
        model, _, number = version.partition(":")
        assert [row.text for row in found] == [text for text, _ in rows]
        assert {(row.model, row.model_version) for row in found} == {(model, int(number))}
        with Classifier.load(version, settings=self.cluster.python_settings()) as classifier:
            expected = classifier([text for text, _ in rows])
        assert [row.label for row in found] == [each["label"] for each in expected]
        assert len({row.label for row in found}) > 1
        scores = [each["score"] for each in expected]
        assert [row.confidence for row in found] == pytest.approx(scores, abs=1e-3)


@pytest.fixture(scope="module")
def installation(module_cluster: Cluster) -> Iterator[Installation]:
    """An installation with the starter, and a local RoBERTa that knows the texts of all models."""
    known = [
        text
        for labels in (TONES, SHADES, FEELINGS)
        for text, _ in rows_of(labels, 15 * len(labels), 1)
    ]
    base = roberta_base(module_cluster.folder / "base", known)
    before = torch.get_num_threads()
    # So little work is done soonest by one thread, above all beside others.
    torch.set_num_threads(1)
    module_cluster.start_worker()
    yield Installation(module_cluster, base, module_cluster.folder)
    torch.set_num_threads(before)


def test_a_base_of_ones_own_goes_through_fit_promotion_and_serving(
    installation: Installation,
) -> None:
    first = installation.fit("tone", TONES)
    assert (first["version"], first["base"]) == (1, str(installation.base))
    second = installation.fit("tone", TONES, "--seed", 7)
    assert second["version"] == 2
    installation.merge("tone:2")
    rows = rows_of(TONES, 60, 4)
    _, found = installation.serve("tone", rows)
    installation.check("tone:1", rows, found)
    installation.training("promote", "tone:2", "--why", "another seed")
    serves = "tone@production: version 2 serves now, after 1"
    wait_until(lambda: serves in installation.cluster.logs(), 60, serves)
    later = rows_of(TONES, 60, 5)
    result, found = installation.serve("tone", later)
    assert result["model_versions"] == {"2": 60}
    installation.check("tone:2", later, found)
    installation.training("export", "tone:2", installation.folder / "plain")
    texts = [text for text, _ in later]
    assert pipeline_labels(installation.folder / "plain", texts) == [row.label for row in found]


@pytest.mark.parametrize(
    ("model", "labels"), [("shades", SHADES), ("feelings.all", FEELINGS)], ids=["28", "scripts"]
)
def test_any_labels_in_any_language_by_the_same_commands(
    installation: Installation, model: str, labels: Mapping[str, Sequence[str]]
) -> None:
    fitted = installation.fit(model, labels)
    assert set(fitted["per_class"]) == set(labels)
    installation.merge(f"{model}:1")
    rows = rows_of(labels, 4 * len(labels), 4)
    result, found = installation.serve(model, rows)
    installation.check(f"{model}:1", rows, found)
    assert set(result["labels"]) <= set(labels)
    assert sum(result["labels"].values()) == len(rows)
    assert {frozenset(json.loads(row.scores)) for row in found} == {frozenset(labels)}


def test_all_of_them_stand_side_by_side(installation: Installation) -> None:
    listed = json.loads(installation.training("versions", "--json"))
    assert [(each["model"], each["version"], each["aliases"]) for each in listed] == [
        ("emotion", 1, ["production"]),
        ("feelings.all", 1, ["production"]),
        ("shades", 1, ["production"]),
        ("tone", 1, []),
        ("tone", 2, ["production"]),
    ]
    rows = [("i am so happy today", "joy"), ("i feel terribly alone", "sadness")]
    result, found = installation.serve("emotion", rows)
    assert [row.label for row in found] == ["joy", "sadness"]
    assert result["model_versions"] == {"1": 2}
