"""The settings, read from the environment in one place.

Every setting is a field here, with the prefix `LABELSTREAM_` in the environment, in a `.env` file
of the working folder, or as a file of that name in `/run/secrets`.
"""

import tempfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

from pydantic import Field, ValidationError, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from db.defaults import CACHE_MB, LOST_CONNECTION_SECONDS, MAX_LOADED, MICRO_BATCH_LIMIT_SECONDS
from db.errors import UsageError

#: Where container platforms mount secrets; read only where it exists.
SECRETS_DIR = Path("/run/secrets")

#: Hosts of a broker that shares this machine's files.
_LOCAL_HOSTS = {None, "", "localhost", "127.0.0.1", "::1"}

EngineName = Literal[
    "auto", "torch", "openvino", "constant", "constant-tokenised", "text-hash", "fixed-time"
]


class Settings(BaseSettings):
    """What one process of Labelstream is told from outside; immutable once read."""

    model_config = SettingsConfigDict(
        env_prefix="LABELSTREAM_",
        env_file=".env",
        secrets_dir=SECRETS_DIR if SECRETS_DIR.is_dir() else None,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
    )

    database_url: str | None = Field(
        None, repr=False, description="SQLAlchemy URL of the store; unset: SQLite in HOME_DIR"
    )
    broker_url: str | None = Field(
        None, repr=False, description="Redis URL of the queue; unset: embedded mode"
    )
    home_dir: Path = Field(
        Path(".labelstream"), description="folder of the embedded mode: database, registry, locks"
    )
    registry_dir: str | None = Field(
        None,
        repr=False,
        description="folder, or fsspec URL such as s3://bucket/models, of the models' files; "
        "unset: `registry` in HOME_DIR",
    )
    model: str = Field("emotion@production", description="model of jobs that name none")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    engine: EngineName = Field("auto", description="engine that computes the logits")
    engine_pace: float | None = Field(
        None,
        ge=0,
        allow_inf_nan=False,
        description="seconds a row that `text-hash` and `fixed-time` take; unset: 0 and 0.001",
    )
    threads: int | None = Field(
        None,
        ge=0,
        le=1024,
        description="threads that an engine computes with on CPUs; 0: one for each processor that "
        "the process may use; unset: OMP_NUM_THREADS, else as 0",
    )
    concurrency: int = Field(
        4, ge=1, le=64, description="Celery threads around those of the engine"
    )
    max_loaded: int = Field(
        MAX_LOADED, ge=1, le=64, description="versions that a worker keeps loaded at once"
    )
    cache_mb: int = Field(
        CACHE_MB,
        ge=0,
        description="MiB of logits that a worker remembers, so that a text that comes again is not "
        "computed again; 0: none",
    )
    micro_batch_limit: float = Field(
        MICRO_BATCH_LIMIT_SECONDS,
        gt=0,
        allow_inf_nan=False,
        description="seconds after which a worker that hangs inside one micro-batch ends itself",
    )
    patience: float = Field(
        LOST_CONNECTION_SECONDS,
        gt=0,
        description="seconds for which a lost database or broker is tried again",
    )
    metrics_port: int | None = Field(
        None, ge=1, le=65535, description="port for Prometheus metrics; unset: off"
    )
    metrics_host: str = Field(
        "127.0.0.1", description="address on which METRICS_PORT is open; 0.0.0.0: all of them"
    )
    dashboard_token: str | None = Field(
        None,
        repr=False,
        description="secret of at least 16 characters with which the page lets people change things; "
        "unset: it changes nothing",
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        "INFO", description="lowest level that is logged"
    )
    log_format: Literal["text", "json"] = Field("text", description="a log line's form")

    @model_validator(mode="before")
    @classmethod
    def _empty_is_unset(cls, values: Mapping[str, object]) -> dict[str, object]:
        # Compose files pass an unset variable on as an empty string. One that is set and empty
        # still outweighs the `.env` file.
        return {name: value for name, value in values.items() if value != ""}

    @field_validator("registry_dir", mode="before")
    @classmethod
    def _path_is_text(cls, value: object) -> object:
        return str(value) if isinstance(value, Path) else value

    @field_validator("log_level", mode="before")
    @classmethod
    def _any_case(cls, value: object) -> object:
        return value.upper() if isinstance(value, str) else value

    @property
    def home(self) -> Path:
        """Absolute path of HOME_DIR."""
        return self.home_dir.expanduser().absolute()

    @property
    def store_url(self) -> str:
        """SQLAlchemy URL of the store: DATABASE_URL, else SQLite in HOME_DIR."""
        return self.database_url or f"sqlite:///{self.home / 'labelstream.db'}"

    @property
    def registry(self) -> str:
        """Where the models' files are: an absolute path, or an fsspec URL."""
        if self.registry_dir is None:
            return str(self.home / "registry")
        if "://" in self.registry_dir:
            return self.registry_dir
        return str(Path(self.registry_dir).expanduser().absolute())

    @property
    def embedded(self) -> bool:
        """Whether this process brings its own Redis and worker."""
        return self.broker_url is None


@lru_cache(maxsize=1)
def get_settings() -> Settings:
    """Return the settings of this process, read once.

    Raises `UsageError` naming the setting that is wrong, never its value (it may be a password).
    """
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "_".join(str(part) for part in first["loc"]).upper()
        raise UsageError(
            f"setting LABELSTREAM_{name} is not usable: {first['msg'].lower()}; "
            "see the settings in the README"
        ) from None


def open_home(settings: Settings) -> Path:
    """Return HOME_DIR, made if needed and readable by its owner alone.

    Raises `UsageError` if the folder cannot be made or written.
    """
    home = settings.home
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        # A name of its own each time: several processes may look at once.
        with tempfile.TemporaryFile(dir=home):
            pass
    except OSError as error:
        raise UsageError(
            f"home folder {home} cannot be written ({error.strerror}); "
            "set LABELSTREAM_HOME_DIR to a folder that can"
        ) from None
    return home


def check_addresses(settings: Settings) -> None:
    """Raise `UsageError` for a broker that others reach beside a database that they do not."""
    if settings.broker_url is None or settings.database_url is not None:
        return
    parts = urlsplit(settings.broker_url)
    if "socket" in parts.scheme or parts.hostname in _LOCAL_HOSTS:
        return
    raise UsageError(
        "LABELSTREAM_BROKER_URL names another machine but LABELSTREAM_DATABASE_URL is not set; "
        "workers there could not reach a SQLite file here: set LABELSTREAM_DATABASE_URL"
    )
