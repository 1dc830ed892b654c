"""Files of made texts like tweets: as many as are wanted, all distinct, the same at every call."""

import csv
import random
from collections.abc import Iterator
from functools import cache
from pathlib import Path

#: Where the words come from, each as often as people wrote it: 4 characters on average.
_EXAMPLES = Path(__file__).parents[1] / "examples" / "tweets.csv"

#: Words of a text, at least and at most: 20 on average, with the spaces about 100 characters.
_WORDS = (12, 28)

SEED = 1


@cache
def _words() -> list[str]:
    with _EXAMPLES.open(newline="", encoding="utf-8") as file:
        return [word for row in csv.DictReader(file) for word in (row["text"] or "").split()]


def made_tweets(rows: int, seed: int = SEED) -> Iterator[str]:
    """Give `rows` distinct texts; a longer run begins with those of a shorter one."""
    chance = random.Random(seed)
    words = _words()
    # Twelve words of a thousand are never drawn twice; a hash tells, and takes less room.
    seen: set[int] = set()
    while len(seen) < rows:
        text = " ".join(chance.choices(words, k=chance.randint(*_WORDS)))
        if hash(text) not in seen:
            seen.add(hash(text))
            yield text


def write_tweets(path: Path, rows: int) -> None:
    """Write a CSV with the columns id and text."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["id", "text"])
        writer.writerows(enumerate(made_tweets(rows), start=1))
