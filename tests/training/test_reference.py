"""The histograms kept with a version: by hand, and of the rows that it was measured on."""

import numpy as np

from db.registry.names import parse_ref
from db.registry.versions import resolve
from db.store import open_store
from tests.training.conftest import Moods
from tests.training.moods import one_torch_thread, read_rows, settings_of
from training.reference import CONFIDENCE_BINS, TOKEN_EDGES, reference_histograms
from worker import Classifier
from worker.predictions import probabilities


def test_counts_equal_what_a_hand_works_out() -> None:
    # At temperature 2 the best shares are sigmoid(1) = 0.731, 0.5, 1, and sigmoid(1) again.
    logits = np.asarray([[2, 0], [0, 0], [0, 4000], [0, 2]], dtype=np.float32)
    found = reference_histograms(logits, 2.0, ("a", "b"), [4, 5, 512, 513], "test")
    assert (found["split"], found["rows"]) == ("test", 4)
    assert found["labels"] == {"a": 2, "b": 2}
    # Bins a twentieth wide: 0.5 begins one, a share of 1 belongs to the last.
    assert found["confidence"] == [0] * 10 + [1, 0, 0, 0, 2, 0, 0, 0, 0, 1]
    assert found["tokens"]["upper_edges"] == list(TOKEN_EDGES)
    # Up to 4 tokens, 5 to 8, ..., 385 to 512, and more than that.
    assert found["tokens"]["counts"] == [1, 1] + [0] * 11 + [1, 1]


def test_a_label_that_was_never_predicted_is_counted_as_none() -> None:
    logits = np.asarray([[1, 0, 0]], dtype=np.float32)
    assert reference_histograms(logits, 1.0, "abc", [3], "test")["labels"] == {
        "a": 1,
        "b": 0,
        "c": 0,
    }


def test_a_fit_keeps_those_of_its_test_split_as_it_serves_it(moods: Moods) -> None:
    settings = settings_of(moods.home)
    store = open_store(settings)
    version = resolve(store, parse_ref("mood:1"))
    store.close()
    texts = [text for text, _ in read_rows(moods.data / "test.txt")]
    with one_torch_thread(), Classifier.load("mood:1", settings=settings) as classifier:
        logits, tokens = classifier.logits(texts), classifier.tokens(texts)
    kept = version.reference
    assert kept is not None
    assert (kept["split"], kept["rows"]) == ("test", 216)
    predicted = [version.labels[index] for index in logits.argmax(axis=1)]
    assert kept["labels"] == {label: predicted.count(label) for label in version.labels}
    confidence = probabilities(logits, version.temperature["torch"]).max(axis=1)
    counts, _ = np.histogram(confidence, bins=CONFIDENCE_BINS, range=(0, 1))
    # A row on the edge of a bin may fall to either side.
    assert np.abs(np.asarray(kept["confidence"]) - counts).sum() <= 2
    assert sum(kept["confidence"]) == 216
    # Words and two special tokens: at least 3 words a text, at most 6.
    assert [len(text.split()) + 2 for text in texts] == tokens
    few = sum(count <= 4 for count in tokens)
    assert kept["tokens"]["counts"] == [few, 216 - few] + [0] * 13


def test_a_share_of_exactly_one_stays_in_the_last_bin() -> None:
    logits = np.asarray([[1e6, 0]], dtype=np.float32)
    found = reference_histograms(logits, 1.0, "ab", [1], "all")["confidence"]
    assert found.index(1) == CONFIDENCE_BINS - 1
    assert sum(found) == 1
