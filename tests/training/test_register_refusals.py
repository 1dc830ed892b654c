"""What `training register` refuses: one line, status 2, and nothing is registered."""

import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import LlamaConfig, LlamaForCausalLM

from db.registry.versions import list_versions
from db.store import Store, open_store
from tests.foreign_models import plain_adapter, plain_base, plain_classifier
from tests.training.moods import refused, said, settings_of
from tests.training.test_fit import training
from worker.probes import PROBE_FILE


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home in which `there:1` is registered, and nothing else shall ever be."""
    folder = tmp_path_factory.mktemp("refusals")
    said(folder / "home", "register", plain_classifier(folder / "model"), "--model", "there")
    return folder / "home"


@pytest.fixture(autouse=True)
def nothing_is_registered(home: Path) -> Iterator[None]:
    """Compare the registry's rows and folders before and after each test."""
    before = registered(home)
    yield
    assert registered(home) == before


def registered(home: Path) -> tuple[list[str], list[str]]:
    settings = settings_of(home)
    store: Store = open_store(settings)
    versions = [str(version) for version in list_versions(store)]
    store.close()
    return versions, sorted(os.listdir(settings.registry))


def changed(folder: Path, name: str = "config.json", **values: Any) -> None:
    """Set values of a JSON file; None removes one."""
    content = json.loads((folder / name).read_text())
    content.update(values)
    kept = {key: value for key, value in content.items() if value is not None}
    (folder / name).write_text(json.dumps(kept))


def with_weights(
    folder: Path, change: Callable[[dict[str, torch.Tensor]], object], name: str = "model"
) -> None:
    path = folder / f"{name}.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file(tensors, path, metadata={"format": "pt"})


def pickled(folder: Path) -> None:
    (folder / "model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "pytorch_model.bin")


def without_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").unlink()


def with_four_names(folder: Path) -> None:
    changed(folder, id2label={"0": "a", "1": "b", "2": "c", "3": "d"}, label2id=None)


def without_names(folder: Path) -> None:
    changed(folder, id2label={str(i): f"LABEL_{i}" for i in range(3)}, label2id=None)


def with_one_name_twice(folder: Path) -> None:
    changed(folder, id2label={"0": "a", "1": "b", "2": "a"}, label2id=None)


def for_many_labels(folder: Path) -> None:
    changed(folder, problem_type="multi_label_classification")


def for_numbers(folder: Path) -> None:
    changed(folder, problem_type="regression")


def with_one_output(folder: Path) -> None:
    plain_classifier(folder, labels=("LABEL_0",))


def of_a_language(folder: Path) -> None:
    """A small Llama that continues texts."""
    config = LlamaConfig(
        vocab_size=41, hidden_size=32, intermediate_size=32, num_hidden_layers=1,
        num_attention_heads=2,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)


def of_no_known_kind(folder: Path) -> None:
    changed(folder, model_type="nobody-knows", architectures=["NobodyForSequenceClassification"])


def with_code_of_its_own(folder: Path) -> None:
    kinds = {"AutoConfig": "own.Own", "AutoModelForSequenceClassification": "own.Own"}
    changed(folder, auto_map=kinds)
    # Were it imported, the next test would find this file.
    (folder / "own.py").write_text(f"open({str(folder / 'was-run')!r}, 'w')\n")


def with_a_weight_that_is_no_number(folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        # Of one word alone: no usual text would show it.
        tensors["bert.embeddings.word_embeddings.weight"][40, 3] = float("nan")

    with_weights(folder, spoil)


def with_logits_that_overflow(folder: Path) -> None:
    with_weights(folder, lambda tensors: tensors["classifier.weight"].fill_(3e38))


def without_some_weights(folder: Path) -> None:
    with_weights(folder, lambda tensors: tensors.pop("bert.pooler.dense.weight"))


def of_another_size(folder: Path) -> None:
    changed(folder, hidden_size=64)


def with_a_broken_config(folder: Path) -> None:
    (folder / "config.json").write_text('{"architectures": ["BertForSequ')


def with_a_list_for_a_config(folder: Path) -> None:
    (folder / "config.json").write_text("[]")


def with_broken_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:5000])


def with_an_absent_shard(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "model-00001-of-00002.safetensors")
    index = {"classifier.weight": "model-00001-of-00002.safetensors"}
    index["bert.pooler.dense.weight"] = "model-00002-of-00002.safetensors"
    (folder / "model.safetensors.index.json").write_text(
        json.dumps({"metadata": {}, "weight_map": index})
    )


def with_a_broken_tokenizer(folder: Path) -> None:
    (folder / "tokenizer.json").write_text("{}")


def emptied(folder: Path) -> None:
    for file in folder.iterdir():
        file.unlink()


def written_with_texts(folder: Path) -> None:
    written_by_fit(folder)
    (folder / PROBE_FILE).write_text("a text\n")


def written_by_fit(folder: Path) -> None:
    (folder / "labelstream.json").write_text("{}")


NAMED = ("--labels", "a,b,c")

REFUSED: dict[Callable[[Path], None], tuple[tuple[str, ...], str]] = {
    pickled: ((), "has no model.safetensors, only pytorch_model.bin, which could run code"),
    without_tokenizer: ((), "has no tokenizer.json: save its fast tokenizer there"),
    with_four_names: ((), "has a head of 3 classes, but 4 label names: give --labels"),
    without_names: ((), "does not name its labels (its head has 3 classes): give --labels"),
    with_one_name_twice: ((), "has two labels called 'a'"),
    for_many_labels: ((), "gives a text several labels at once (problem_type multi_label_class"),
    for_numbers: (NAMED, "gives a number, no label (problem_type regression)"),
    with_one_output: ((), "has a head of 1 class, as a regression has"),
    of_a_language: ((), "is LlamaForCausalLM, no text classifier: fit one on it with training fit"),
    of_no_known_kind: ((), "understands (ValueError): an architecture that it knows is needed"),
    with_code_of_its_own: ((), "brings code of its own (auto_map in config.json), which is never"),
    with_a_weight_that_is_no_number: (
        (),
        "no finite numbers (bert.embeddings.word_embeddings.weight in model.safetensors)",
    ),
    with_logits_that_overflow: ((), "gives no usable numbers for a plain text"),
    without_some_weights: ((), "has no weights for bert.pooler.dense.weight (1 missing)"),
    of_another_size: ((), "bert.embeddings.LayerNorm.bias is [32], not [64] (38 such)"),
    with_a_broken_config: ((), "config.json cannot be read as JSON (JSONDecodeError)"),
    with_a_list_for_a_config: ((), "config.json is no JSON object"),
    with_broken_weights: ((), "model.safetensors cannot be read ("),
    with_an_absent_shard: ((), "No such file or directory: "),
    with_a_broken_tokenizer: ((), "was not registered: the tokenizer"),
    emptied: ((), "holds neither adapter_config.json nor config.json"),
    written_with_texts: (("--no-mistakes",), "keeps texts of the data that it was fitted on"),
    written_by_fit: (NAMED, "was written by training fit and describes itself"),
}


@pytest.mark.parametrize("change", REFUSED, ids=lambda change: change.__name__)
def test_a_model_that_cannot_serve_is_refused_in_one_line(
    change: Callable[[Path], None], home: Path, tmp_path: Path
) -> None:
    folder = plain_classifier(tmp_path / "model")
    change(folder)
    options, message = REFUSED[change]
    line = refused(home, "register", folder, "--model", "no", *options)
    assert str(folder) in line
    assert message in line
    assert not (folder / "was-run").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--labels", "a,b"), "has a head of 3 classes, but 2 label names: give --labels"),
        (("--labels", "a,b,a"), "has two labels called 'a'"),
        (("--labels", "a,,b"), "--labels a,,b has an empty name"),
        (("--base", "other"), "is a whole model, which needs no --base"),
        (("--max-length", "67"), "reads at most 66 tokens, not 67: lower --max-length"),
        (("--revision", "main"), "is a folder, which has no --revision"),
        (("--data", "absent.csv"), "absent.csv does not exist: check --data"),
    ],
)
def test_what_is_said_of_a_model_must_fit_it(
    options: tuple[str, ...], message: str, home: Path, tmp_path: Path
) -> None:
    folder = plain_classifier(tmp_path / "model")
    assert message in refused(home, "register", folder, "--model", "no", *options)


def test_data_with_other_labels_is_refused(home: Path, tmp_path: Path) -> None:
    folder = plain_classifier(tmp_path / "model")
    data = tmp_path / "data.csv"
    rows = "".join(f"i am number {n},{('calm', 'furious')[n % 2]}\n" for n in range(40))
    data.write_text(f"text,label\n{rows}")
    line = refused(home, "register", folder, "--model", "no", "--data", data)
    assert "has the label 'furious', which" in line
    assert "its labels are calm, cross, glad" in line


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return plain_base(tmp_path_factory.mktemp("bases") / "base")


def pickled_adapter(folder: Path) -> None:
    (folder / "adapter_model.safetensors").unlink()
    torch.save({"weight": torch.zeros(1)}, folder / "adapter_model.bin")


def of_a_causal_adapter(folder: Path) -> None:
    changed(folder, "adapter_config.json", task_type="CAUSAL_LM")


def without_a_base(folder: Path) -> None:
    changed(folder, "adapter_config.json", base_model_name_or_path=None)


def on_an_absent_base(folder: Path) -> None:
    changed(folder, "adapter_config.json", base_model_name_or_path="/home/nobody/base")


def without_a_head(folder: Path) -> None:
    def strip(tensors: dict[str, torch.Tensor]) -> None:
        for name in [name for name in tensors if ".classifier." in name]:
            del tensors[name]

    with_weights(folder, strip, "adapter_model")


def with_foreign_layers(folder: Path) -> None:
    changed(folder, "adapter_config.json", target_modules=["value"])


def with_a_spoilt_adapter(folder: Path) -> None:
    def spoil(tensors: dict[str, torch.Tensor]) -> None:
        next(value for name, value in tensors.items() if "lora_B" in name)[0] = float("inf")

    with_weights(folder, spoil, "adapter_model")


REFUSED_ADAPTERS: dict[Callable[[Path], None], tuple[tuple[str, ...], str]] = {
    pickled_adapter: (NAMED, "has no adapter_model.safetensors, only adapter_model.bin, which"),
    of_a_causal_adapter: (NAMED, "is an adapter for CAUSAL_LM, no text classifier (SEQ_CLS)"),
    without_a_base: (NAMED, "does not name its base: give --base"),
    on_an_absent_base: (NAMED, "base model folder /home/nobody/base does not exist: check --base"),
    without_a_head: (NAMED, "has no classification head among its weights"),
    with_foreign_layers: (NAMED, "weights do not fit its base and its adapter_config.json"),
    with_a_spoilt_adapter: (NAMED, "weights that are no finite numbers ("),
}


@pytest.mark.parametrize("change", REFUSED_ADAPTERS, ids=lambda change: change.__name__)
def test_an_adapter_that_cannot_serve_is_refused_in_one_line(
    change: Callable[[Path], None], base: Path, home: Path, tmp_path: Path
) -> None:
    folder = plain_adapter(tmp_path / "adapter", base)
    change(folder)
    options, message = REFUSED_ADAPTERS[change]
    assert message in refused(home, "register", folder, "--model", "no", *options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "does not name its labels (its head has 3 classes): give --labels"),
        (("--labels", "a,b"), "has a head of 3 classes, but 2 label names"),
        ((*NAMED, "--base", "./none"), "base model folder ./none does not exist: check --base"),
        ((*NAMED, "--max-length", "67"), "reads at most 66 tokens, not 67"),
    ],
)
def test_what_is_said_of_an_adapter_must_fit_it(
    options: tuple[str, ...], message: str, base: Path, home: Path, tmp_path: Path
) -> None:
    folder = plain_adapter(tmp_path / "adapter", base)
    assert message in refused(home, "register", folder, "--model", "no", *options)


def test_a_pickle_beside_a_description_of_ones_own_is_not_loaded(
    base: Path, home: Path, tmp_path: Path
) -> None:
    folder = plain_adapter(tmp_path / "adapter", base)
    described = {
        "format_version": 1, "base": str(base), "base_revision": None, "base_sha256": {},
        "labels": ["a", "b", "c"], "max_length": 32, "metrics": {}, "license": None,
        "language": None, "libraries": {}, "data": {"name": None, "fingerprint": None},
    }  # fmt: skip
    (folder / "labelstream.json").write_text(json.dumps(described))
    # The head's size can be read, but the adapter is a pickle, which nobody so much as opens.
    (folder / "adapter_model.safetensors").rename(folder / "other.safetensors")
    (folder / "adapter_model.bin").write_bytes(b"\x80no pickle of this world")
    line = refused(home, "register", folder, "--model", "no")
    assert f"{folder} was not registered: " in line
    assert "No such file or directory: " in line
    assert "adapter_model.safetensors" in line


def test_a_base_that_brings_code_of_its_own_is_refused(home: Path, tmp_path: Path) -> None:
    base = plain_base(tmp_path / "base")
    folder = plain_adapter(tmp_path / "adapter", base)
    with_code_of_its_own(base)
    line = refused(home, "register", folder, "--model", "no", *NAMED)
    assert f"{base} brings code of its own" in line
    assert not (base / "was-run").exists()


def test_an_adapter_of_another_base_is_refused(home: Path, tmp_path: Path) -> None:
    folder = plain_adapter(tmp_path / "adapter", plain_base(tmp_path / "bert"))
    other = plain_base(tmp_path / "other", "distilbert")
    line = refused(home, "register", folder, "--model", "no", *NAMED, "--base", other)
    assert f"{folder} was not registered: model no cannot be made from its files" in line


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("{tmp_path}/absent", "/absent is no folder: check the path"),
        ("./absent", "./absent is no folder: check the path"),
        ("{tmp_path}/model.safetensors", "model.safetensors is a file: give the folder that"),
    ],
)
def test_what_is_no_folder_is_told(source: str, message: str, home: Path, tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_text("")
    line = refused(home, "register", source.format(tmp_path=tmp_path), "--model", "no")
    assert message in line


def test_a_hub_out_of_reach_is_one_line(tmp_path: Path) -> None:
    done = training(tmp_path, "register", "nobody/nothing-of-this-name", "--model", "no")
    errors = [line for line in done.stderr.splitlines() if "is registered; its terms" not in line]
    assert (done.status, done.stdout, len(errors)) == (2, "", 1)
    assert errors[0].startswith(
        "error: model nobody/nothing-of-this-name cannot be fetched from the hub ("
    )
    assert errors[0].endswith("check the name and the connection, or give a local folder")
