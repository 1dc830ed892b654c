"""The rows that are sent through a fault, and how to tell that a label is theirs."""

import csv
import random
import zlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tests.faults.counting import Judge, SourceRow
from worker.classifier import Classifier

LABELS = ("sadness", "joy", "love", "anger", "fear", "surprise")

EXAMPLES = Path(__file__).parents[2] / "examples" / "tweets.csv"

#: Bytes of a text: 32 of them fill a micro-batch of the engine that reads bytes.
TEXT_BYTES = 64

#: Every so many rows one has no text, and is to be rejected.
BLANK_EVERY = 500

#: Different texts of a real model's source.
SENTENCES = 500

#: Two logits that are nearer than this may come out in another order in another micro-batch.
CLOSE = 0.001


def numbered_rows(name: str, count: int, first: int = 1) -> list[SourceRow]:
    """Return rows of which no two have the same text, and all the same length in bytes."""
    return [SourceRow(f"{name}-{n}", _numbered(name, n)) for n in range(first, first + count)]


def _numbered(name: str, number: int) -> str:
    if number % BLANK_EVERY == 0:
        return ""
    head = f"row {number} of {name}: so müde heute 🙂 "
    return head + "x" * (TEXT_BYTES - len(head.encode()))


def hash_is_right(text: str, label: str) -> bool:
    """Whether the engine `text-hash` says `label`: CRC-32 of the UTF-8, modulo the six labels."""
    return label == LABELS[zlib.crc32(text.encode()) % len(LABELS)]


def tweet_rows(name: str, count: int) -> list[SourceRow]:
    """Return rows made of the words of the example tweets; a few sentences, each many times."""
    with EXAMPLES.open(newline="", encoding="utf-8") as file:
        words = [word for row in csv.DictReader(file) for word in row["text"].split()]
    pick = random.Random(1)
    some = [" ".join(pick.choices(words, k=pick.randint(8, 24))) for _ in range(SENTENCES)]
    return [
        SourceRow(f"{name}-{n}", "" if n % BLANK_EVERY == 0 else pick.choice(some))
        for n in range(1, count + 1)
    ]


def model_judge(classifier: Classifier, rows: Sequence[SourceRow]) -> Judge:
    """Return a judge that has computed the logits of all texts anew."""
    texts = sorted({row.text for row in rows if row.text})
    logits = dict(zip(texts, classifier.logits(texts), strict=True))
    labels = list(classifier.labels)

    def is_right(text: str, label: str) -> bool:
        of_text = logits[text]
        return bool(np.max(of_text) - of_text[labels.index(label)] < CLOSE)

    return is_right


def write_csv(path: Path, rows: Sequence[SourceRow]) -> None:
    """Write rows as the producer reads them."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows((row.id, row.text) for row in rows)
