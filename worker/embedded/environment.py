"""What the embedded worker is told: the settings of the member that starts it."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

from worker.embedded.redis_server import broker_url

if TYPE_CHECKING:
    from db.settings import Settings

_SQLITE = "sqlite:///"


def worker_environment(settings: "Settings", socket_path: Path) -> dict[str, str]:
    """Return the environment of the worker: this process's, and every setting spelled out.

    The worker runs in another folder, where neither `.env` nor a relative path means the same.
    """
    said = {
        f"LABELSTREAM_{name.upper()}": str(value)
        for name in type(settings).model_fields
        if (value := getattr(settings, name)) is not None
    }
    said["LABELSTREAM_BROKER_URL"] = broker_url(socket_path)
    said["LABELSTREAM_HOME_DIR"] = str(settings.home)
    said["LABELSTREAM_REGISTRY_DIR"] = settings.registry
    # Two homes on one machine would want the same port.
    said["LABELSTREAM_METRICS_PORT"] = ""
    if settings.database_url is not None:
        said["LABELSTREAM_DATABASE_URL"] = absolute_url(settings.database_url)
    return {**os.environ, **said}


def absolute_url(url: str) -> str:
    """Return `url`, a relative SQLite path in it made absolute."""
    if not url.startswith(_SQLITE):
        return url
    path, mark, query = url.removeprefix(_SQLITE).partition("?")
    return f"{_SQLITE}{Path(path).absolute()}{mark}{query}" if path else url
