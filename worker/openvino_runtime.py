"""OpenVINO, imported so that it tells nobody."""

import sys
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType


def openvino() -> ModuleType:
    """Return the module `openvino`; raises ImportError where it is not installed.

    Its import and its converter report their use to a web address unless the package that sends is
    not there; then they take a stub of their own.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]
    return import_module("openvino")


def openvino_version() -> str | None:
    """Return the version of the installed OpenVINO, without importing it; None if there is none."""
    try:
        return version("openvino")
    except PackageNotFoundError:
        return None
