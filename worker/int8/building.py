"""Making a version ready for OpenVINO: converted, quantised, checked against fp32, recorded."""

import errno
import logging
import os
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from db.registry.artifacts import artifact_store
from db.registry.builds import Build, any_build, record_build
from db.registry.versions import Version
from db.settings import Settings
from db.store import Store
from worker.builds import Unbuildable, build_key
from worker.classifier import Classifier
from worker.encoder import TokenizerEncoder
from worker.engines.openvino_engine import GRAPH_FILE, OpenvinoEngine
from worker.engines.torch_engine import TorchEngine
from worker.int8.agreement import Agreement, Logits, agreement
from worker.int8.converting import converted
from worker.int8.first_token import keep_first_token
from worker.int8.quantising import quantise
from worker.openvino_runtime import openvino
from worker.probes import read_probes
from worker.scratch import scratch
from worker.serving import ensure_merged

log = logging.getLogger(__name__)

#: Texts that show the ranges of activations: more change little.
CALIBRATION_TEXTS = 300

#: Share of labels equal to fp32 below which a build is not taken: on a version's probe texts, and on
#: validation and test texts.
LEAST_AGREEMENT = 0.97
LEAST_AGREEMENT_ON_DATA = 0.99

#: What serving needs beside the graph.
_BESIDE = ("config.json", "tokenizer.json")


@dataclass(frozen=True)
class Checked:
    """A build that was recorded, and what it was checked on."""

    build: Build
    agreement: Agreement


def build_version(
    store: Store,
    settings: Settings,
    version: Version,
    calibration: Sequence[str],
    check: Sequence[str],
    truth: Sequence[int] | None = None,
    *,
    who: str,
    replaces: Callable[[Build], bool] = any_build,
) -> Checked:
    """Make a build of `version` for this machine's processor, and record it.

    `calibration` are texts like those that it will read, `check` others, with `truth`, their label
    ids, if these are labelled data. A build that is there when this one is done is replaced if
    `replaces` says so, else it stays. Raises `Unbuildable` for a model that cannot be converted, or whose labels
    agree with fp32 on less than 97 % of `check`, 99 % of labelled data; nothing is recorded then.
    Raises `ServiceUnavailable` where this machine has no room for it.
    """
    key, length, threads = build_key(), version.max_length, settings.threads
    merged = ensure_merged(store, settings, version)
    with scratch("labelstream-build-") as folder:
        write_build(merged, version, calibration, folder)
        fp32 = _logits(version, TorchEngine(merged, length, "cpu", threads), check)
        found = _logits(version, OpenvinoEngine(folder, length, threads), check)
        compared = agreement(found, fp32, multi_label=version.multi_label)
        least = LEAST_AGREEMENT if truth is None else LEAST_AGREEMENT_ON_DATA
        if compared.share < least:
            raise Unbuildable(
                f"model {version} in 8 bits gives the label of fp32 for {compared.share:.1%} of "
                f"{compared.rows} texts, less than {least:.0%}: it serves with torch"
            )
        artifacts = artifact_store(settings)
        location, hashes = artifacts.publish(folder)
    accuracy = None if truth is None else float(np.mean(found.argmax(axis=1) == np.asarray(truth)))
    build = Build(location, hashes, compared.share, accuracy)
    unused: tuple[str, ...] = (location,)
    try:
        unused = record_build(store, version, key, build, who=who, replaces=replaces)
    finally:
        for each in unused:
            artifacts.discard(each)
    return Checked(build, compared)


def build_from_probes(
    store: Store,
    settings: Settings,
    version: Version,
    *,
    who: str,
    replaces: Callable[[Build], bool] = any_build,
) -> Checked | None:
    """Make a build of `version` as `build_version` does, from the texts that it keeps.

    None if it keeps none.
    """
    folder = artifact_store(settings).verified(version.adapter, version.adapter_sha256)
    probes = read_probes(folder)
    if probes is None:
        return None
    return build_version(
        store, settings, version, probes.calibration, probes.check, who=who, replaces=replaces
    )


def write_build(merged: Path, version: Version, calibration: Sequence[str], folder: Path) -> None:
    """Write the files that `OpenvinoEngine` reads, for the model in `merged`, to `folder`."""
    model = converted(merged)
    if not keep_first_token(model):
        log.info("model %s: its last layer is computed for all tokens", version)
    encoded = TokenizerEncoder(merged, version.max_length).encode(
        list(calibration[:CALIBRATION_TEXTS])
    )
    quantise(model, [encoded.row(index).astype(np.int64) for index in range(len(encoded))])
    try:
        openvino().save_model(model, folder / GRAPH_FILE, compress_to_fp16=False)
    except RuntimeError:
        # Its streams tell that they failed, and not why; a disk without room is what there is.
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)) from None
    for file in _BESIDE:
        shutil.copyfile(merged / file, folder / file)


def _logits(version: Version, engine: TorchEngine | OpenvinoEngine, texts: Sequence[str]) -> Logits:
    with Classifier(version, engine) as classifier:
        return classifier.logits(texts)
