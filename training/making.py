"""From labelled data to a registered version: fit, write, measure, register."""

from __future__ import annotations

import tempfile
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from training.artifact import Provenance, write_adapter
from training.data import LabelledData
from training.fit import Fit, fit
from training.fit_config import FitConfig
from training.fit_state import FitStateFile
from training.measuring import Measured
from training.progress import FitProgress
from training.registering import register

if TYPE_CHECKING:
    from db.registry.artifacts import ArtifactStore
    from db.registry.versions import Version
    from db.store import Store


@dataclass(frozen=True)
class Made:
    """A finished fit and its worth; `version` is None where it was not registered."""

    fit: Fit
    measured: Measured
    version: Version | None


def make_version(
    data: LabelledData,
    config: FitConfig,
    provenance: Provenance,
    *,
    out: Path | None = None,
    registry: tuple[Store, ArtifactStore] | None = None,
    state: FitStateFile | None = None,
    resume: bool = False,
    why: str = "training fit",
) -> Made:
    """Fit on `data`, write the adapter to `out` (or a folder of its own), register it.

    Progress is shown on stderr. Without `registry` nothing is registered. `state` is kept until
    all of this is done: with `resume` a call that was killed goes on from there.
    """
    with ExitStack() as stack:
        with FitProgress(data, config) as progress:
            finished = fit(data, config, progress.step, progress.epoch, state=state, resume=resume)
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "adapter"
        measured = write_adapter(finished, data, provenance, folder)
        version = None
        if registry is not None:
            store, artifacts = registry
            version = register(store, artifacts, folder, provenance.model, why=why)
        if state is not None:
            state.discard()
        return Made(finished, measured, version)
