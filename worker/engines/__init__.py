"""The engines, one small class each behind one protocol, made by name."""

from pathlib import Path

from db.errors import UsageError
from db.registry.versions import Version
from worker.engines.protocol import Engine, EngineOutOfMemory

__all__ = ["COMPUTES_NO_MODEL", "NEEDS_NO_MODEL", "Engine", "EngineOutOfMemory", "make_engine"]

#: Engines of tests and benchmarks: they compute from the texts alone.
NEEDS_NO_MODEL = ("constant", "text-hash", "fixed-time")

#: All engines whose labels are no model's. This one needs a version's tokenizer.
COMPUTES_NO_MODEL = (*NEEDS_NO_MODEL, "constant-tokenised")


def make_engine(
    name: str,
    folder: Path | None,
    version: Version,
    device: str,
    *,
    pace: float | None = None,
    threads: int | None = None,
) -> Engine:
    """Make the engine `name` for the model in `folder`; imports only what it needs.

    `folder` holds the merged model, for `openvino` a build of it, and may be None for an engine that
    needs no model. `pace` is the number of seconds a row that `text-hash` and `fixed-time` take, each
    its own where it is None; `threads` is that of the settings. Raises `UsageError` for an unknown
    name or a device that is not there.
    """
    if name == "constant":
        from worker.engines.constant import ConstantEngine

        return ConstantEngine(len(version.labels))
    if name == "constant-tokenised":
        from worker.engines.constant_tokenised import ConstantTokenisedEngine

        assert folder is not None, "this engine reads a model's tokenizer"  # noqa: S101
        return ConstantTokenisedEngine(len(version.labels), folder, version.max_length)
    if name == "text-hash":
        from worker.engines.text_hash import TextHashEngine

        return TextHashEngine(len(version.labels), pace or 0.0)
    if name == "fixed-time":
        from worker.engines.fixed_time import SECONDS_A_ROW, FixedTimeEngine

        return FixedTimeEngine(len(version.labels), SECONDS_A_ROW if pace is None else pace)
    if name == "torch":
        from worker.engines.torch_engine import TorchEngine

        assert folder is not None, "this engine computes with a model"  # noqa: S101
        return TorchEngine(folder, version.max_length, device, threads)
    if name == "openvino":
        from worker.engines.openvino_engine import OpenvinoEngine

        assert folder is not None, "this engine computes with a build"  # noqa: S101
        return OpenvinoEngine(folder, version.max_length, threads)
    raise UsageError(f"there is no engine {name!r}; see LABELSTREAM_ENGINE in the README")
