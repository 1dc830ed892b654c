"""How fast each engine is by itself, and whether it gives the labels of fp32.

`python -m benchmarks.engines DATA [--rounds 3]`: the model alone, in one process,
on the validation and test texts of DATA, each of them once: `transformers.pipeline(batch_size=32)` on
the merged model, and each engine of ours by `Classifier`, tokenising included, by turns. The starter, in a home of its own, is built from the training texts first.
Rows a second are medians, the share of labels and the accuracy are of all those texts.
"""

import argparse
import math
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.settings import Settings
from db.store import open_store
from training.building import data_texts
from training.data import read_data
from worker.classifier import Classifier
from worker.int8.agreement import agreement
from worker.int8.building import build_version
from worker.preparing import prepare
from worker.serving import ensure_merged

Logits = npt.NDArray[np.float32]

MODEL = "emotion:1"

#: Texts of a pipeline's forward pass.
PEER_BATCH = 32

#: Texts that each engine computes before the clock starts.
WARM_UP = 64


@dataclass
class Way:
    """One way to classify texts: how, and what it took."""

    name: str
    logits: Callable[[list[str]], Logits]
    seconds: list[float] = field(default_factory=list)
    found: Logits | None = None

    def run(self, texts: list[str]) -> None:
        """Classify `texts` once more."""
        started = time.monotonic()
        self.found = self.logits(texts)
        self.seconds.append(time.monotonic() - started)


def pipeline_way(folder: Path, labels: tuple[str, ...]) -> Way:
    """Return what people use today, on the same merged model."""
    from transformers import pipeline

    classify: Any = pipeline(
        "text-classification", model=str(folder), tokenizer=str(folder), device="cpu", top_k=None
    )
    places = {label: place for place, label in enumerate(labels)}

    def logits(texts: list[str]) -> Logits:
        found = np.zeros((len(texts), len(labels)), dtype=np.float32)
        for row, scores in enumerate(classify(texts, batch_size=PEER_BATCH)):
            for each in scores:
                # Their order is all that is asked of them here.
                found[row, places[each["label"]]] = math.log(max(each["score"], 1e-12))
        return found

    return Way(f"transformers.pipeline(batch_size={PEER_BATCH})", logits)


def main() -> None:
    """Run what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as home:
        settings = Settings(_env_file=None, home_dir=Path(home), device="cpu")
        store = open_store(settings)
        prepare(store, settings)
        version = resolve(store, parse_ref(MODEL))
        texts = data_texts(version, read_data(asked.data, store=store))
        merged = ensure_merged(store, settings, version)
        started = time.monotonic()
        build_version(store, settings, version, texts.calibration, texts.check[:500], who="bench")
        print(f"the build took {time.monotonic() - started:.1f} s, 500 texts of its check included")
        ways = [pipeline_way(merged, version.labels)]
        for engine in ("torch", "openvino"):
            loaded = Classifier.load(MODEL, engine=engine, settings=settings)
            ways.append(Way(engine, loaded.logits))
        store.close()
        for way in ways:
            way.logits(texts.check[:WARM_UP])
        for _ in range(asked.rounds):
            for way in ways:
                way.run(texts.check)
        report(ways, np.asarray(texts.truth))


def report(ways: list[Way], truth: npt.NDArray[np.int64]) -> None:
    """Print a line for each way, its ratio to the first, and its labels against torch's."""
    fp32 = next(way.found for way in ways if way.name == "torch")
    assert fp32 is not None
    first = statistics.median(ways[0].seconds)
    print(f"{len(truth):,} texts, each once; medians of {len(ways[0].seconds)} rounds by turns")
    print(f"{'way':42}{'rows/s':>8}{'ratio':>7}{'as fp32':>10}{'accuracy':>10}")
    for way in ways:
        assert way.found is not None
        seconds = statistics.median(way.seconds)
        same = agreement(way.found, fp32).share
        right = float(np.mean(way.found.argmax(axis=1) == truth))
        print(
            f"{way.name:42}{len(truth) / seconds:8,.0f}{first / seconds:6.2f}x{same:10.2%}{right:10.4f}"
        )


if __name__ == "__main__":
    main()
