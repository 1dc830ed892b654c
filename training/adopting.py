"""A finished model becomes a registered version: copied, tried out, measured if there is data."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from db.errors import LabelstreamError, RegistryError, UsageError, one_line
from training.describing import measure_into
from training.evaluation import candidate
from training.foreign import Claims, Source, adopt, described_by_itself
from training.foreign_checks import check_weights
from training.measuring import Measured
from training.registering import register
from worker.adapters import read_version
from worker.probes import PROBE_FILE

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.data import LabelledData
    from training.registry import Registry

#: What a model must give numbers for before it is registered: a few words, and more of them than
#: any model reads, so that texts are cut where the model ends.
_SHORT, _LONG = "a short text", "word " * 2000


@dataclass(frozen=True)
class Adopted:
    """The version, and what it is worth if there was data to measure it on."""

    version: Version
    measured: Measured | None


def adopt_version(
    registry: Registry,
    source: Source,
    model: str,
    claims: Claims,
    data: LabelledData | None = None,
    *,
    mistakes: bool = True,
) -> Adopted:
    """Register the model in `source` as the next version of `model`.

    A folder that `training fit` wrote is registered as it is. Raises `LabelstreamError` for a
    model that does not load, fit its labels or compute; then nothing is registered.
    """
    why = f"training register {source.name}"
    if source.revision is not None:
        why += f" at {source.revision}"
    if described_by_itself(source):
        if claims.any() or data is not None:
            raise UsageError(
                f"{source.name} was written by training fit and describes itself: register it "
                "with --model alone"
            )
        if not mistakes and (source.folder / PROBE_FILE).is_file():
            raise UsageError(
                f"{source.name} keeps texts of the data that it was fitted on ({PROBE_FILE}): fit it "
                "with --no-mistakes"
            )
        _try_out(source.folder, source, model, registry)
        version = register(registry.store, registry.artifacts, source.folder, model, why=why)
        return Adopted(version, None)
    with tempfile.TemporaryDirectory(prefix="labelstream-register-") as temporary:
        folder = Path(temporary) / "model"
        content = adopt(source, model, claims, folder)
        _try_out(folder, source, model, registry)
        measured = None
        if data is not None:
            measured = measure_into(
                content,
                folder,
                data,
                registry.settings,
                champion=registry.production(model),
                mistakes=mistakes,
            )
        version = register(registry.store, registry.artifacts, folder, model, why=why)
    return Adopted(version, measured)


def _try_out(folder: Path, source: Source, model: str, registry: Registry) -> None:
    check_weights(source.name, folder)
    described = read_version(folder, model, "", {})
    try:
        with candidate(folder, described, registry.settings) as classifier:
            logits = classifier.logits([_SHORT, _LONG])
    except RegistryError as error:
        raise LabelstreamError(f"{source.name} was not registered: {one_line(error)}") from None
    failed = np.flatnonzero(~np.isfinite(logits).all(axis=1)).tolist()
    if 0 in failed:
        raise LabelstreamError(
            f"{source.name} was not registered: it gives no usable numbers for a plain text"
        )
    if failed:
        raise LabelstreamError(
            f"{source.name} was not registered: it fails on a text of {described.max_length} "
            "tokens; give a lower --max-length"
        )
