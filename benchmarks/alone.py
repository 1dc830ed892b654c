"""An engine by itself: what `benchmarks.end_to_end` compares its way from CSV to SQL with.

`python -m benchmarks.alone HOME ENGINE FILE`: the texts of FILE by `Classifier`, with the starter that
HOME has, tokenising included; reading them and loading the model are not in the seconds. Prints one JSON
object.
"""

import csv
import json
import sys
import time
from pathlib import Path

import numpy as np

from db.settings import Settings
from worker.classifier import Classifier

MODEL = "emotion:1"


def classified_alone(home: str, engine: str, file: str) -> dict[str, float]:
    """Classify the texts of `file`; returns seconds of loading and of all rows."""
    with Path(file).open(newline="", encoding="utf-8") as lines:
        texts = [row["text"] for row in csv.DictReader(lines)]
    begun = time.monotonic()
    settings = Settings(_env_file=None, home_dir=Path(home), device="cpu", engine=engine)
    with Classifier.load(MODEL, settings=settings) as classifier:
        loaded = time.monotonic()
        found = classifier.logits(texts)
        ended = time.monotonic()
    assert np.isfinite(found).all(), "the engine failed for some texts"
    return {"loading": loaded - begun, "seconds": ended - loaded}


if __name__ == "__main__":
    print(json.dumps(classified_alone(*sys.argv[1:])))
