"""From labelled data to a registered version: fit, write, measure, register, pass the gate."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy.exc import DBAPIError

from db.errors import ServiceUnavailable, one_line
from db.failures import error_kind
from training.artifact import Provenance, write_adapter
from training.data import LabelledData
from training.fit import Fit, fit
from training.fit_config import FitConfig
from training.fit_state import FitStateFile
from training.gate import Decision, Gate
from training.measuring import Measured
from training.patience import patiently
from training.progress import FitProgress
from training.registering import register
from training.user import current_user

if TYPE_CHECKING:
    from db.registry.versions import Version
    from training.registry import Registry


@dataclass(frozen=True)
class Made:
    """A finished fit and its worth.

    `version` is None where it was not registered, `decision` where no gate was asked for.
    """

    fit: Fit
    measured: Measured
    version: Version | None
    decision: Decision | None


def make_version(
    data: LabelledData,
    config: FitConfig,
    provenance: Provenance,
    *,
    out: Path | None = None,
    mistakes: bool = True,
    registry: Registry | None = None,
    gate: Gate | None = None,
    state: FitStateFile | None = None,
    resume: bool = False,
    why: str = "training fit",
) -> Made:
    """Fit an adapter on `data`, with progress on stderr, write it, and register it if asked to.

    Its folder is `out`, or a temporary one; then the registry holds the only copy. `gate` decides
    whether it is promoted. `state` is kept up to date, and goes when the version is there.
    """
    with ExitStack() as stack:
        with FitProgress(data, config) as progress:
            finished = fit(data, config, progress.step, progress.epoch, state=state, resume=resume)
        folder = out or Path(stack.enter_context(tempfile.TemporaryDirectory())) / "adapter"
        version, decision = None, None
        with _keeping(state):
            champion = _champion(registry, provenance.model)
            measured = write_adapter(
                finished, data, provenance, folder, champion=champion, mistakes=mistakes
            )
            if registry is not None:
                version = register(
                    registry.store, registry.artifacts, folder, provenance.model, why=why
                )
                decision = _decided(gate, registry, version, champion, measured)
        if state is not None:
            state.discard()
        return Made(finished, measured, version, decision)


@contextmanager
def _keeping(state: FitStateFile | None) -> Iterator[None]:
    """Say how to go on when a service is away after hours of work."""
    try:
        yield
    except (ServiceUnavailable, DBAPIError) as error:
        if state is None:
            raise
        said = (
            f"the database failed ({error_kind(error)})"
            if isinstance(error, DBAPIError)
            else one_line(error)
        )
        raise ServiceUnavailable(
            f"{said}; the fit is kept: the same command with --resume goes on with it"
        ) from None


def _champion(registry: Registry | None, model: str) -> Version | None:
    """Return who is in production now, not hours ago."""
    if registry is None:
        return None
    return patiently(registry.store, lambda: registry.production(model))


def _decided(
    gate: Gate | None,
    registry: Registry,
    version: Version,
    champion: Version | None,
    measured: Measured,
) -> Decision | None:
    if gate is None:
        return None
    return patiently(
        registry.store,
        lambda: gate.pass_through(registry.store, version, champion, measured, who=current_user()),
    )
