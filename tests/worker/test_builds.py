"""The starter in 8 bits: made here, checked, served where it fits, and passed over where it does not."""

import json
import logging
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from db.defaults import (
    BUILD_AGAIN_SECONDS,
    BUILD_LIMIT_SECONDS,
    FIRST_START_SECONDS,
    LOAD_LIMIT_SECONDS,
)
from db.errors import RegistryError, UsageError
from db.registry.artifacts import artifact_store
from db.registry.builds import list_builds, record_build
from db.registry.events import list_events
from db.registry.names import parse_ref
from db.registry.versions import Version, resolve
from db.settings import Settings, get_settings
from db.store import Store, open_store
from tests.cluster import Cluster, clean_environment, wait_until
from worker import builds
from worker.build import build
from worker.builds import build_key
from worker.classifier import Classifier
from worker.engines.openvino_engine import OpenvinoEngine
from worker.int8 import building
from worker.preparing import prepare
from worker.probes import PROBE_FILE, Probes, read_probes
from worker.serving import Loader
from worker.starter import ADAPTER

PROBES = read_probes(ADAPTER) or Probes((), ())

#: By how much a logit may differ with the rows that stand beside it: a last digit decides on which of
#: 256 levels an activation is put.
NEAR = 0.05


@pytest.fixture(scope="module")
def built(starter_settings: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Settings of a home whose starter was used once on this processor; never to be changed."""
    home = tmp_path_factory.mktemp("built") / "home"
    shutil.copytree(starter_settings.home, home)
    settings = Settings(_env_file=None, home_dir=home, device="cpu", engine="auto")
    store = open_store(settings)
    engine = Loader(store, settings).load(resolve(store, parse_ref("emotion:1")))
    assert engine.name == "openvino"
    store.close()
    return settings


@pytest.fixture
def settings(built: Settings, tmp_path: Path) -> Settings:
    """Settings of a home of one's own with that build."""
    shutil.copytree(built.home, tmp_path / "home")
    return built.model_copy(update={"home_dir": tmp_path / "home"})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    opened = open_store(settings)
    yield opened
    opened.close()


@pytest.fixture
def starter(store: Store) -> Version:
    return resolve(store, parse_ref("emotion:1"))


def test_the_build_is_what_auto_serves_with_nearly_all_labels_of_fp32(
    settings: Settings, store: Store, starter: Version, classifier: Classifier
) -> None:
    [(key, build)] = list_builds(store, starter)
    assert key == build_key()
    [made] = [event for event in list_events(store, "emotion") if event.event == "built"]
    assert made.who == "labelstream"
    assert build.agreement >= 0.97
    assert build.accuracy is None
    texts = list(PROBES.check)
    with Classifier.load(settings=settings) as eight_bits:
        assert (eight_bits.engine, classifier.engine) == ("openvino", "torch")
        found, fp32 = eight_bits.logits(texts), classifier.logits(texts)
        assert not np.array_equal(found, fp32)
        same = found.argmax(axis=1) == fp32.argmax(axis=1)
        assert same.mean() == pytest.approx(build.agreement, abs=0.011)
        # Alone or in the middle of others, a row has its logits.
        np.testing.assert_allclose(eight_bits.logits(texts[7:8]), found[7:8], atol=NEAR)
        # No temperature was fitted on this engine: that of torch counts.
        label = eight_bits(texts[0])[0]
        scaled = np.exp(found[0] / starter.temperature["torch"])
        assert label["score"] == pytest.approx(scaled.max() / scaled.sum(), abs=NEAR)


def test_a_damaged_build_is_made_anew(
    settings: Settings, store: Store, starter: Version, caplog: pytest.LogCaptureFixture
) -> None:
    [(_, damaged)] = list_builds(store, starter)
    weights = Path(settings.registry) / damaged.location / "model.bin"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.chmod(0o644)
    weights.write_bytes(content)
    assert Loader(store, settings).load(starter).name == "openvino"
    assert "must be made anew" in caplog.text
    [(_, anew)] = list_builds(store, starter)
    assert anew.location != damaged.location
    assert not weights.exists()
    # And it is not made once more.
    assert Loader(store, settings).load(starter).name == "openvino"
    assert list_builds(store, starter) == [(build_key(), anew)]


def test_a_version_that_keeps_no_texts_runs_under_torch_until_it_is_built(
    starter_settings: Settings, starter_store: Store, starter: Version
) -> None:
    hashes = {file: hash_ for file, hash_ in starter.adapter_sha256.items() if file != PROBE_FILE}
    bare = replace(starter, adapter_sha256=hashes)
    auto = starter_settings.model_copy(update={"engine": "auto"})
    assert Loader(starter_store, auto).load(bare).name == "torch"
    asked = starter_settings.model_copy(update={"engine": "openvino"})
    with pytest.raises(RegistryError, match="make one here: training build emotion:1"):
        Loader(starter_store, asked).load(bare)
    assert list_builds(starter_store, starter) == []


def test_a_version_that_cannot_be_built_runs_under_torch_and_is_tried_again_after_a_while(
    starter_settings: Settings,
    starter_store: Store,
    starter: Version,
    caplog: pytest.LogCaptureFixture,
) -> None:
    auto = starter_settings.model_copy(update={"engine": "auto"})
    now = 1000.0
    loader = Loader(starter_store, auto, clock=lambda: now)
    # The child finds no such version; its files are those of the starter.
    unknown = replace(starter, version=99)
    tries = []
    for seconds in (0.0, BUILD_AGAIN_SECONDS - 1.0, 2.0):
        now += seconds
        assert loader.load(unknown).name == "torch"
        said = [message for message in caplog.messages if "under torch" in message]
        tries.append(len(said))
    assert tries == [1, 1, 2]
    assert said[0].startswith("model emotion:99 could not be built: there is no model emotion:99")


def test_a_build_that_takes_too_long_is_given_up_for_torch(
    starter_settings: Settings,
    starter_store: Store,
    starter: Version,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(builds, "BUILD_LIMIT_SECONDS", 0.01)
    auto = starter_settings.model_copy(update={"engine": "auto"})
    assert Loader(starter_store, auto).load(starter).name == "torch"
    assert "model emotion:1 could not be built within 0 s; it runs under torch" in caplog.text
    assert list_builds(starter_store, starter) == []


def test_a_first_start_merges_once_with_a_limit_of_its_own_whatever_becomes_of_the_build(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    # Each of its steps may take as long as it may.
    assert FIRST_START_SECONDS >= LOAD_LIMIT_SECONDS + BUILD_LIMIT_SECONDS + LOAD_LIMIT_SECONDS
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(builds, "BUILD_LIMIT_SECONDS", 0.01)
    settings = Settings(_env_file=None, home_dir=tmp_path / "home", device="cpu", engine="auto")
    store = open_store(settings)
    prepare(store, settings)
    engine = Loader(store, settings).load(resolve(store, parse_ref("emotion:1")))
    assert engine.name == "torch"
    steps = [
        each
        for message in caplog.messages
        for each in ("is merged", "made ready", "could not be built", "loaded")
        if each in message
    ]
    assert steps == ["is merged", "made ready", "could not be built", "loaded"]
    store.close()


def test_a_build_that_cannot_be_loaded_does_not_keep_a_version_from_serving(
    settings: Settings,
    store: Store,
    starter: Version,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    [(key, build)] = list_builds(store, starter)
    source = tmp_path / "source"
    shutil.copytree(Path(settings.registry) / build.location, source)
    (source / "model.xml").write_text("<net>")
    location, hashes = artifact_store(settings).publish(source)
    record_build(store, starter, key, replace(build, location=location, sha256=hashes), who="me")
    assert Loader(store, settings).load(starter).name == "torch"
    assert "it runs under torch here" in caplog.text
    asked = settings.model_copy(update={"engine": "openvino"})
    with pytest.raises(RegistryError, match="cannot be loaded"):
        Loader(store, asked).load(starter)


def test_whichever_engine_serves_computes_with_as_many_threads_as_the_settings_say(
    settings: Settings, store: Store, starter: Version
) -> None:
    one = settings.model_copy(update={"threads": 1})
    engine = Loader(store, one).load(starter)
    assert isinstance(engine, OpenvinoEngine)
    assert engine.threads == 1
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        Loader(store, one.model_copy(update={"engine": "torch"})).load(starter)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(before)


def test_openvino_is_for_cpus(settings: Settings, store: Store, starter: Version) -> None:
    asked = settings.model_copy(update={"engine": "openvino", "device": "cuda"})
    with pytest.raises(UsageError, match="computes on CPUs, not on cuda"):
        Loader(store, asked).load(starter)


def test_a_build_that_agrees_too_little_is_not_taken_and_not_tried_again(
    starter_settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(starter_settings.home, tmp_path / "home")
    monkeypatch.setenv("LABELSTREAM_HOME_DIR", str(tmp_path / "home"))
    monkeypatch.setenv("LABELSTREAM_DEVICE", "cpu")
    settings = Settings(_env_file=None, engine="auto")
    store = open_store(settings)
    starter = resolve(store, parse_ref("emotion:1"))
    folders = sorted(Path(settings.registry).iterdir())
    monkeypatch.setattr(building, "LEAST_AGREEMENT", 1.01)
    # What the child process runs, but for its lower priority, which this process would keep.
    monkeypatch.setattr(os, "nice", lambda _: 0)
    get_settings.cache_clear()
    with pytest.raises(RegistryError, match=r"for \d+\.\d% of 200 texts, less than 101%"):
        build("emotion:1")
    assert list_builds(store, starter) == []
    assert sorted(Path(settings.registry).iterdir()) == folders
    [event] = [event for event in list_events(store, "emotion") if event.event == "not built"]
    assert str(event.why).startswith(f"{build_key()}: model emotion:1 in 8 bits gives the label")
    # A child would succeed: its limit is the usual one.
    assert Loader(store, settings).load(starter).name == "torch"
    assert list_builds(store, starter) == []
    store.close()


def alone(home: Path, person: Path, code: str) -> list[str]:
    """Run `code` as somebody with an empty home and no CI; return the lines that it prints.

    The last one is what it tried to connect to.
    """
    person.mkdir()
    trap = (
        "import sys, socket\n"
        "tried = []\n"
        "socket.socket.connect = lambda _, address: tried.append(address)\n"
    )
    unset = ("CI", "LABELSTREAM_ENGINE")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    done = subprocess.run(
        [sys.executable, "-c", f"{trap}{code}\nprint(tried)"],
        env={**environment, "HOME": str(person), "LABELSTREAM_HOME_DIR": str(home)},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_serving_a_build_needs_no_torch_and_tells_nobody(
    settings: Settings, tmp_path: Path
) -> None:
    label, heavy, telemetry, tried = alone(
        settings.home,
        tmp_path / "person",
        "from worker import Classifier\n"
        "print(Classifier.load()(['what a day'])[0]['label'])\n"
        "print([name for name in sys.modules if name in ('torch', 'transformers', 'peft')])\n"
        "print(bool(sys.modules.get('openvino_telemetry')))",
    )
    assert re.fullmatch("[a-z]+", label)
    assert (heavy, telemetry, tried) == ("[]", "False", "[]")
    assert list((tmp_path / "person").iterdir()) == []


def test_making_a_build_tells_nobody(starter_settings: Settings, tmp_path: Path) -> None:
    shutil.copytree(starter_settings.home, tmp_path / "home")
    said, telemetry, tried = alone(
        tmp_path / "home",
        tmp_path / "person",
        "from worker.build import build\n"
        "build('emotion:1')\n"
        "print(bool(sys.modules.get('openvino_telemetry')))",
    )
    assert (said, telemetry, tried) == ("model emotion:1 built", "False", "[]")
    assert list((tmp_path / "person").iterdir()) == []


def test_a_build_that_is_killed_in_the_middle_leaves_nothing_and_is_made_by_the_next(
    starter_settings: Settings, tmp_path: Path
) -> None:
    home, scratch = tmp_path / "home", tmp_path / "scratch"
    shutil.copytree(starter_settings.home, home)
    scratch.mkdir()
    settings = Settings(_env_file=None, home_dir=home, device="cpu")
    store = open_store(settings)
    starter = resolve(store, parse_ref("emotion:1"))
    folders = {path.name for path in (home / "registry").iterdir()}
    command = [sys.executable, "-P", "-m", "worker.build", "emotion:1"]
    environment = clean_environment(LABELSTREAM_HOME_DIR=str(home), TMPDIR=str(scratch))
    with subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL) as process:
        wait_until(lambda: list(scratch.glob("labelstream-build-*")), 60, "it is at work")
        assert process.poll() is None
        process.kill()
    assert list_builds(store, starter) == []
    assert {path.name for path in (home / "registry").iterdir()} == folders
    # Its lock went with it.
    subprocess.run(command, env=environment, check=True, timeout=120, capture_output=True)
    [(key, made)] = list_builds(store, starter)
    assert key == build_key()
    assert {path.name for path in (home / "registry").iterdir()} == {*folders, made.location}
    store.close()


def test_a_worker_labels_by_the_build_and_says_so_of_every_row(
    settings: Settings, store: Store, tmp_path: Path
) -> None:
    texts = list(PROBES.check)
    file = tmp_path / "texts.txt"
    file.write_text("\n".join(texts) + "\n", encoding="utf-8")
    environment = {
        **{name: value for name, value in os.environ.items() if name[:12] != "LABELSTREAM_"},
        "LABELSTREAM_HOME_DIR": str(settings.home),
    }
    done = subprocess.run(
        [Path(sys.executable).with_name("producer"), "ingest", file, "--json"],
        env=environment,
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["engine"] == "openvino"
    with store.read() as connection:
        rows = connection.exec_driver_sql(
            "SELECT text, label, engine FROM labeled_texts ORDER BY row_number"
        ).all()
    assert [row.text for row in rows] == texts
    assert {row.engine for row in rows} == {"openvino"}
    with Classifier.load(settings=settings) as eight_bits:
        logits = eight_bits.logits(texts)
    best = np.sort(logits, axis=1)
    clear = best[:, -1] - best[:, -2] > 2 * NEAR
    assert clear.sum() > 170
    expected = [eight_bits.labels[index] for index in logits.argmax(axis=1)]
    assert [row.label for row, sure in zip(rows, clear, strict=True) if sure] == [
        label for label, sure in zip(expected, clear, strict=True) if sure
    ]


def test_a_worker_that_dies_with_micro_batches_side_by_side_loses_no_row(
    settings: Settings, store: Store, tmp_path: Path, redis_url: str
) -> None:
    rows = 3000
    file = tmp_path / "texts.txt"
    file.write_text("".join(f"today i feel like number {n}\n" for n in range(rows)))
    cluster = Cluster(tmp_path, redis_url, store.url, settings.registry)
    cluster.settings |= {
        "LABELSTREAM_ENGINE": "openvino",
        # On two processors these are two micro-batches at once.
        "LABELSTREAM_THREADS": "2",
        "LABELSTREAM_CACHE_MB": "0",
    }
    try:
        victim = cluster.start_worker()
        job = cluster.start_producer("ingest", file, "--wait", "--json")
        stored = "SELECT count(*) FROM labeled_texts"
        wait_until(lambda: cluster.value(stored) > 0, 60, "the first rows are labelled")
        victim.kill()
        victim.wait(timeout=10)
        assert cluster.value("SELECT count(*) FROM chunks WHERE state = 'leased'") > 0
        assert cluster.value(stored) < rows, "in the middle of it"
        cluster.start_worker()
        _, err = job.communicate(timeout=120)
        assert job.returncode == 0, err
        assert cluster.value(stored) == rows
        assert cluster.value("SELECT count(DISTINCT text) FROM labeled_texts") == rows
        assert cluster.value("SELECT sum(labeled) FROM chunks") == rows
        engines = cluster.rows("SELECT DISTINCT engine FROM labeled_texts")
        assert [engine for (engine,) in engines] == ["openvino"]
    finally:
        cluster.stop()
