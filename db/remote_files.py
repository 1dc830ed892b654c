"""Files at URLs, through fsspec, which is imported only where a URL is opened.

Every driver raises errors of its own, with whole URLs in them; here they become plain words.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from db.errors import UsageError, hide_password

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

#: Seconds without a byte after which a stream over HTTP counts as lost.
_HTTP_SILENCE_SECONDS = 60

#: Seconds for one connection to S3 to be made, and without a byte of an answer.
S3_CONNECT_SECONDS = 3
S3_SILENCE_SECONDS = 15

#: Tries of one request by botocore, with growing pauses, and rounds of them by s3fs where an answer
#: stayed out or broke off. A server that cannot be reached is so given up within 3 x 3 s and the
#: pauses, one that is mute within 3 x 3 x 15 s and the pauses, in less time than a load may take.
S3_TRIES = 3
S3_ROUNDS = 3

#: Seconds for a file to be written, and how many more a byte: over a line of 1 Mbit/s and better.
WRITE_SECONDS = 60.0
_WRITE_SECONDS_A_BYTE = 8e-6

#: What to install for the drivers that come with one of our extras.
_EXTRAS = {"s3fs": "'labelstream[s3]'"}

#: The errors by which AWS's libraries say that they were given no credentials.
_NO_CREDENTIALS = ("NoCredentialsError", "PartialCredentialsError", "CredentialRetrievalError")

#: And that there was nobody to talk to.
_NO_CONNECTION = ("EndpointConnectionError", "ConnectTimeoutError")


def open_url(url: str) -> "tuple[AbstractFileSystem, str]":
    """Return the file system that `url` is on, and its path there. Nothing is asked of it yet.

    Raises `UsageError` if its driver is not installed or there is none, naming what to install.
    """
    from fsspec.core import url_to_fs

    name = hide_password(url)
    try:
        filesystem, path = url_to_fs(url, **_options(url))
    except ImportError as error:
        raise UsageError(f"{name}: {_driver(url, error)}") from None
    except ValueError:
        raise UsageError(f"{name}: nothing is known to open {_scheme(url)}:// with") from None
    except Exception as error:  # noqa: BLE001  (every driver raises its own kinds)
        raise UsageError(f"{name} cannot be opened: {why(error)}") from None
    if _is_s3(url):
        filesystem.retries = S3_ROUNDS
    return filesystem, path


def put(filesystem: "AbstractFileSystem", file: Path, path: str) -> None:
    """Write the local `file` to `path`, or give it up in a time that depends on its size.

    Raises what the driver raises, and `TimeoutError`.
    """
    limit = {}
    if filesystem.async_impl:
        # That for S3 asks for leave to send, and would wait for ever where nobody answers.
        limit = {"timeout": WRITE_SECONDS + _WRITE_SECONDS_A_BYTE * file.stat().st_size}
    filesystem.put_file(str(file), path, **limit)


def is_http(url: str) -> bool:
    """Whether `url` is read by the driver for HTTP."""
    return _scheme(url) in ("http", "https")


def is_missing(error: BaseException) -> bool:
    """Whether `error` says that there is no such file, rather than that nothing is known of it."""
    if not isinstance(error, FileNotFoundError):
        return False
    cause = error.__cause__
    if isinstance(cause, FileNotFoundError):
        return is_missing(cause)
    # The driver for HTTP raises this whatever happened.
    status = getattr(cause, "status", None)
    if status is not None:
        return status in (404, 410)
    return not isinstance(cause, OSError) and not type(cause).__module__.startswith("aiohttp")


def is_missing_bucket(error: BaseException) -> bool:
    """Whether `error` says that there is not even the bucket in which a file should be."""
    response = getattr(error.__cause__, "response", None)
    return isinstance(response, dict) and response.get("Error", {}).get("Code") == "NoSuchBucket"


def why(error: BaseException) -> str:
    """Return the cause without the foreign message, which may hold the URL with its secrets."""
    status = getattr(error, "status", None)
    if isinstance(status, int):
        return f"the server answered {status}"
    if isinstance(error, TimeoutError) or type(error).__name__ == "ReadTimeoutError":
        return "it did not answer in time"
    if type(error).__name__ in _NO_CREDENTIALS:
        return "no credentials were found"
    if type(error).__name__ in _NO_CONNECTION:
        return "no connection could be made"
    return getattr(error, "strerror", None) or type(error).__name__


def _scheme(url: str) -> str:
    return url.split("://", 1)[0].lower()


def _is_s3(url: str) -> bool:
    return _scheme(url) in ("s3", "s3a")


def _options(url: str) -> dict[str, Any]:
    """Return how patient the driver is to be, where that can be said."""
    if is_http(url):
        from aiohttp import ClientTimeout

        # The driver's own limit of 5 minutes is for the whole file, however large it is.
        silence = _HTTP_SILENCE_SECONDS
        limit = ClientTimeout(total=None, sock_connect=silence, sock_read=silence)
        return {"client_kwargs": {"timeout": limit}}
    if _is_s3(url):
        from fsspec.config import conf

        patience = {
            "connect_timeout": S3_CONNECT_SECONDS,
            "read_timeout": S3_SILENCE_SECONDS,
            "retries": {"mode": "standard", "total_max_attempts": S3_TRIES},
        }
        # What the user's own configuration of fsspec says comes first.
        given = conf.get("s3", {}).get("config_kwargs", {})
        return {"use_listings_cache": False, "config_kwargs": {**patience, **given}}
    return {}


def _driver(url: str, error: ImportError) -> str:
    """Return which package to install, from the driver's module in fsspec's register."""
    from fsspec.registry import known_implementations

    scheme = _scheme(url)
    module = str(known_implementations.get(scheme, {}).get("class", "")).split(".")[0]
    cause = error.__cause__
    if module in ("", "fsspec"):
        module = getattr(cause, "name", None) or getattr(error, "name", None) or f"fsspec[{scheme}]"
    return f"{scheme}:// needs a driver; install it: pip install {_EXTRAS.get(module, module)}"
