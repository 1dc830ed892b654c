"""The errors that people see: one line each, and the exit status that goes with it."""

import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn
from urllib.parse import urlsplit, urlunsplit

if TYPE_CHECKING:
    from typer import Typer


class LabelstreamError(Exception):
    """An error that is told to a person as one line: what, where, what to do."""

    #: 2: the arguments, the source or a service are unusable; 1: the job failed.
    exit_status = 2


class UsageError(LabelstreamError):
    """The arguments or the source are unusable (exit status 2)."""


class ServiceUnavailable(LabelstreamError):
    """The database or the broker cannot be reached or used (exit status 2)."""


class RegistryError(LabelstreamError):
    """A model, version or artifact is missing, damaged or refused (exit status 2)."""


class JobFailed(LabelstreamError):
    """The job ran and failed (exit status 1)."""

    exit_status = 1


#: A password inside a URL that stands in free text; the greedy part ends at the last "@".
_PASSWORD_IN_TEXT = re.compile(r"(?P<head>[a-zA-Z][\w+.-]*://[^\s:/@]*):[^\s/]*@")


def hide_password(url: str) -> str:
    """Return `url` with user secrets replaced: the password, and credentials in its query."""
    parts = urlsplit(url)
    if not parts.scheme or not parts.netloc:
        return url
    netloc = parts.netloc
    if "@" in netloc:
        credentials, host = netloc.rsplit("@", 1)
        user = credentials.split(":", 1)[0]
        netloc = f"{user}:***@{host}" if ":" in credentials else f"{user}@{host}"
    query = re.sub(
        r"(?i)((?:^|&)(?:[^=&]*(?:password|passwd|token|secret|signature|sig|credential|key)[^=&]*)=)[^&]*",
        r"\1***",
        parts.query,
    )
    return urlunsplit((parts.scheme, netloc, parts.path, query, parts.fragment))


def one_line(error: BaseException) -> str:
    """Return the message of `error` as a single line without passwords.

    Only the first line of a foreign error is kept: database drivers put values of the failed
    statement, which may be a row's text, on the lines after it.
    """
    text = str(error).strip()
    first = text.splitlines()[0].strip() if text else type(error).__name__
    return _PASSWORD_IN_TEXT.sub(r"\g<head>:***@", first)


def run_command(app: "Typer") -> None:
    """Run a command line, and end the process with the status that the contract names.

    Every error that is meant for people becomes one line on stderr. A closed pipe on stdout is no
    error of ours.
    """
    try:
        status = app(standalone_mode=False)
    except LabelstreamError as error:
        _end(f"error: {one_line(error)}", error.exit_status)
    except (KeyboardInterrupt, EOFError):
        _end("interrupted", 130)
    except BrokenPipeError:
        # Python flushes stdout at exit and would fail a second time: give it a sink.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(141)
    except Exception as error:
        if type(error).__name__ == "Abort":
            _end("interrupted", 130)
        # What the command-line library raises for arguments that do not fit.
        if not hasattr(error, "format_message"):
            raise
        message = " ".join(error.format_message().split())
        if not message or type(error).__name__ == "NoArgsIsHelpError":
            # The help was asked for by giving nothing at all: it has been or is shown as it is.
            print(error.format_message())  # noqa: T201
            sys.exit(2)
        command = getattr(getattr(error, "ctx", None), "command_path", None)
        advice = f"; see: {command} --help" if command else ""
        _end(f"error: {message.rstrip('.')}{advice}", 2)
    sys.exit(status if isinstance(status, int) else 0)


def _end(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)  # noqa: T201
    sys.exit(status)
