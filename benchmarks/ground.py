"""What the ways of `benchmarks.end_to_end` have in common: texts, what is known of them, the model."""

import csv
import random
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from benchmarks.alone import MODEL
from benchmarks.ways import Ground
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings
from db.store import open_store
from training.building import data_texts
from training.data import LabelledData, read_data
from worker.classifier import Classifier
from worker.preparing import prepare
from worker.serving import ensure_merged

#: Share of the rows of the second file that repeat an earlier text, and what they are drawn by.
REPEATED = 0.3
SEED = 7


@contextmanager
def prepared(data: str, rows: int, engines: Sequence[str]) -> Iterator[Ground]:
    """Write the files, and make the starter ready for every way."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = Settings(_env_file=None, home_dir=folder / "home", device="cpu")
        store = open_store(settings)
        prepare(store, settings)
        version = resolve(store, parse_ref(MODEL))
        merged = ensure_merged(store, settings, version)
        texts, truth = chosen_texts(version, read_data(data, store=store), rows)
        store.close()
        for engine in engines:
            asked = settings.model_copy(update={"engine": engine})
            with Classifier.load(MODEL, settings=asked) as classifier:
                wanted = "openvino" if engine == "auto" else engine
                assert classifier.engine == wanted, f"not here: {engine} is {classifier.engine}"
                tokens = classifier.tokens(texts)
        files = folder / "texts.csv", folder / "repeating.csv"
        for file, each in zip(files, (texts, with_repeats(texts, REPEATED, SEED)), strict=True):
            with file.open("w", newline="", encoding="utf-8") as output:
                csv.writer(output).writerows([("id", "text"), *enumerate(each, start=1)])
        yield Ground(folder, *files, len(texts), folder / "home", merged, truth, tokens)


def chosen_texts(
    version: Version, data: LabelledData, rows: int
) -> tuple[list[str], dict[str, str]]:
    """Return distinct texts, and by the row's id the labels of those held out, which come first.

    A text that the data labels twice counts with its first label.
    """
    held = data_texts(version, data)
    labels: dict[str, str] = {}
    for text, label in zip(held.check, held.truth, strict=True):
        labels.setdefault(text, version.labels[label])
    texts = list(dict.fromkeys([*labels, *data.train.texts]))[:rows]
    return texts, {str(row): labels[text] for row, text in enumerate(texts, 1) if text in labels}


def with_repeats(texts: Sequence[str], share: float, seed: int) -> list[str]:
    """Return as many rows, a `share` of which has the text of some row before it."""
    chance = random.Random(seed)
    repeats = set(chance.sample(range(1, len(texts)), round(share * len(texts))))
    new = iter(texts)
    rows: list[str] = []
    for place in range(len(texts)):
        rows.append(chance.choice(rows) if place in repeats else next(new))
    return rows
