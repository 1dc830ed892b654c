"""The classifier in a program: many texts, many threads, closed or forgotten."""

import gc
import subprocess
import sys
import threading

import numpy as np
import pytest

import worker.classifier
from tests.worker.made_engines import LABELS, MadeEngine
from tests.worker.versions import version
from worker.classifier import Classifier
from worker.engines.protocol import Ids, Logits


def test_many_texts_come_back_in_their_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(worker.classifier, "_TEXTS_AT_ONCE", 10)
    texts = [chr(97 + n % 26) * (1 + n * 7 % 40) for n in range(105)]
    with Classifier(version(LABELS), MadeEngine()) as made:
        logits = made.logits(texts)
    assert logits[:, 0].tolist() == [len(text) for text in texts]
    assert logits[:, 1].tolist() == [ord(text[0]) for text in texts]


def test_many_threads_may_call_at_once() -> None:
    found: dict[int, list[float]] = {}
    with Classifier(version(LABELS), MadeEngine()) as made:

        def call(number: int) -> None:
            texts = ["x" * (number * 10 + n) for n in range(1, 10)]
            found[number] = made.logits(texts)[:, 0].tolist()

        threads = [threading.Thread(target=call, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(timeout=30)
    assert found == {number: [number * 10 + n for n in range(1, 10)] for number in range(6)}


def engine_threads() -> set[threading.Thread]:
    return {thread for thread in threading.enumerate() if thread.name.startswith("engine-")}


def test_a_classifier_that_is_forgotten_ends_its_thread() -> None:
    before = engine_threads()
    made = Classifier(version(LABELS), MadeEngine())
    assert len(engine_threads() - before) == 1
    del made
    gc.collect()
    assert engine_threads() - before == set()


def test_a_model_without_usable_numbers_is_a_classifier_that_says_so() -> None:
    class Overflowing(MadeEngine):
        def logits(self, input_ids: Ids, attention_mask: Ids) -> Logits:
            return np.full_like(super().logits(input_ids, attention_mask), np.inf)

    # A worker refuses it. Whoever tries a model or a build out wants to know what it cannot label.
    with Classifier(version(LABELS), Overflowing()) as made:
        assert np.isnan(made.logits(["one", "two"])).all()


def test_closing_twice_means_nothing() -> None:
    before = engine_threads()
    made = Classifier(version(LABELS), MadeEngine())
    made.close()
    made.close()
    assert engine_threads() == before


def test_importing_the_package_imports_nothing_heavy() -> None:
    code = (
        "import sys, worker\n"
        "print({'torch', 'transformers', 'numpy', 'celery', 'sqlalchemy'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.strip() == "set()"
