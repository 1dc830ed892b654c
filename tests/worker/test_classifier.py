"""The classifier for Python: what it says is what a plain pipeline on the merged folder says."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer, pipeline

from db.errors import LabelstreamError, RegistryError, UsageError
from db.settings import Settings
from tests.cluster import clean_environment
from tests.worker.made_engines import MadeEngine
from tests.worker.versions import version
from worker import Classifier

TEXTS = [
    "i feel wonderful today",
    "i am so afraid of the dark",
    "he makes me furious",
    "what? " * 200,
    "naïve 🙂",
    "",
    "i miss her",
]


@pytest.fixture(scope="module")
def model(classifier: Classifier, starter_settings: Settings) -> Any:
    folder = Path(starter_settings.registry) / str(classifier.version.merged)
    return AutoModelForSequenceClassification.from_pretrained(folder).eval()


@pytest.fixture(scope="module")
def tokenizer(classifier: Classifier, starter_settings: Settings) -> Any:
    return AutoTokenizer.from_pretrained(
        Path(starter_settings.registry) / str(classifier.version.merged)
    )


def assert_close(ours: Any, theirs: Any) -> None:
    """Compare two results of one shape: lists, dictionaries, labels, scores to 1e-4."""
    assert type(ours) is type(theirs)
    if isinstance(ours, list):
        assert len(ours) == len(theirs)
        for one, other in zip(ours, theirs, strict=True):
            assert_close(one, other)
    else:
        assert ours.keys() == theirs.keys() == {"label", "score"}
        assert ours["label"] == theirs["label"]
        assert ours["score"] == pytest.approx(theirs["score"], abs=1e-4)


@pytest.fixture
def calibrated(model: Any, classifier: Classifier) -> Iterator[Any]:
    """The model, its logits divided by the version's temperature, which a pipeline knows nothing of."""
    temperature = classifier.version.temperature["torch"]

    def divide(_: Any, __: Any, output: Any) -> Any:
        output.logits = output.logits / temperature
        return output

    assert temperature != 1
    hook = model.register_forward_hook(divide)
    yield model
    hook.remove()


@pytest.mark.parametrize("asked", [{}, {"top_k": 2}, {"top_k": None}])
@pytest.mark.parametrize("texts", [TEXTS[0], [TEXTS[0]], TEXTS[:5]])
def test_the_shape_and_the_scores_are_those_of_a_pipeline_on_calibrated_logits(
    classifier: Classifier, calibrated: Any, tokenizer: Any, texts: str | list[str], asked: Any
) -> None:
    plain = pipeline("text-classification", model=calibrated, tokenizer=tokenizer, device="cpu")
    theirs = plain(texts, truncation=True, max_length=128, **asked)
    assert_close(classifier(texts, **asked), theirs)


def test_the_logits_are_those_of_plain_transformers(
    classifier: Classifier, model: Any, tokenizer: Any
) -> None:
    ours = classifier.logits(TEXTS)
    for text, row in zip(TEXTS, ours, strict=True):
        batch = tokenizer(text, truncation=True, max_length=128, return_tensors="pt")
        with torch.inference_mode():
            theirs = model(**batch).logits[0].numpy()
        assert np.abs(row - theirs).max() < 1e-4


def test_the_labels_do_not_depend_on_the_order_or_on_the_neighbours(classifier: Classifier) -> None:
    many = [f"{text} {n}" for n in range(15) for text in TEXTS]
    forward = classifier.logits(many)
    backward = classifier.logits(many[::-1])[::-1]
    assert np.abs(forward - backward).max() < 1e-4
    assert (forward.argmax(axis=1) == backward.argmax(axis=1)).all()


def test_texts_for_which_the_engine_fails_are_told_by_their_place() -> None:
    with Classifier(version("abc"), MadeEngine()) as classifier:
        assert np.isnan(classifier.logits(["fine", "nan"])[1]).all()
        with pytest.raises(LabelstreamError, match=r"1 of 2 texts, the first at index 1") as raised:
            classifier(["fine", "nan"])
    assert "nan" not in str(raised.value)


def test_no_texts_have_no_labels(classifier: Classifier) -> None:
    assert classifier([]) == []
    assert classifier.logits([]).shape == (0, 6)


@pytest.mark.parametrize(
    ("model_name", "message"),
    [
        ("nothing", r"there is no model nothing@production; there are .*emotion:1"),
        ("emotion:7", r"there is no model emotion:7"),
        ("emotion@canary", r"there is no model emotion@canary"),
    ],
)
def test_a_model_that_is_not_there_is_refused_in_one_line(
    starter_settings: Settings, model_name: str, message: str
) -> None:
    with pytest.raises(RegistryError, match=message) as raised:
        Classifier.load(model_name, settings=starter_settings)
    assert "\n" not in str(raised.value)


def test_a_device_that_is_not_there_is_refused_by_name(starter_settings: Settings) -> None:
    with pytest.raises(UsageError, match="device cuda:99 is not there"):
        Classifier.load(device="cuda:99", settings=starter_settings)


def test_a_fresh_home_works_by_itself_and_serving_imports_neither_peft_nor_datasets(
    tmp_path: Path,
) -> None:
    code = """
import sys
from worker import Classifier
print(Classifier.load("emotion")("what a wonderful day")[0]["label"])
print([name for name in ("peft", "datasets", "training", "pandas", "celery") if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=clean_environment(LABELSTREAM_HOME_DIR=str(tmp_path / "home")),
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == ["joy", "[]"]
