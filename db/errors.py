"""The errors that people see: one line each, and the exit status that goes with it."""

import os
import re
import sys
from typing import TYPE_CHECKING, NoReturn

from db.interrupts import heed_signals, ignore_signals

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


class RegistryUnavailable(RegistryError, ServiceUnavailable):
    """The registry's files cannot be reached or used now, which is no version's fault (status 2)."""


class JobFailed(LabelstreamError):
    """The job ran and failed (exit status 1)."""

    exit_status = 1


#: Exit status after Ctrl-C or TERM, as a shell says it of a program that the signal INT ended.
INTERRUPTED = 130

#: A URL's password, in free text: all between `user:` and the last `@` before a blank, for it may
#: hold a slash that its writer forgot to escape. `host:80/` begins no password, but for services
#: whose paths hold no `@` there is no such doubt.
_PASSWORDS = (
    re.compile(r"(?i)(?P<head>(?:rediss?|postgres(?:ql)?)(?:\+\w+)*://[^\s:/]*):\S*@"),
    re.compile(r"(?P<head>\b[a-zA-Z][\w+.-]*://[^\s:/]*):(?!\d{1,5}(?:[/?#]|$))\S*@"),
    re.compile(r"(?P<head>\b[a-zA-Z][\w+.-]*://[^\s:/]*):[^\s/]*@"),
)

#: A credential in the query of a URL.
_SECRET_IN_QUERY = re.compile(
    r"(?P<head>[?&](?:[^=&#\s]*(?:password|passwd|token|secret|signature|sig|credential|key)"
    r"[^=&#\s]*)=)[^&#\s'\"]*",
    re.IGNORECASE,
)


def hide_password(url: str) -> str:
    """Return `url` with user secrets replaced: passwords, and credentials in its query.

    Text around URLs is kept, so this serves for messages that name some.
    """
    for password in _PASSWORDS:
        url = password.sub(r"\g<head>:***@", url)
    return _SECRET_IN_QUERY.sub(r"\g<head>***", url)


def one_line(error: BaseException) -> str:
    """Return the message of `error` as a single line without passwords.

    Only the first line of a foreign error is kept: database drivers put values of the failed
    statement, which may be a row's text, on the lines after it.
    """
    text = str(error).strip()
    first = text.splitlines()[0].strip() if text else type(error).__name__
    return hide_password(first)


def run_command(app: "Typer") -> None:
    """Run a command line, and end the process with the status that the contract names.

    Every error that is meant for people becomes one line on stderr. A closed pipe on stdout is no
    error of ours, and a stream that was closed before the start takes what is written. TERM is heeded
    as Ctrl-C is, to the very end; what comes after it changes no status.
    """
    heed_signals()
    _open_closed_streams()
    try:
        try:
            status = app(standalone_mode=False)
        finally:
            ignore_signals()
    except LabelstreamError as error:
        _end(f"error: {one_line(error)}", error.exit_status)
    except (KeyboardInterrupt, EOFError):
        _end("interrupted", INTERRUPTED)
    except BrokenPipeError:
        _end_unheard()
    except SystemExit as ended:
        # The command-line library itself ends a command whose reader has gone, as if it had failed.
        if isinstance(ended.__context__, BrokenPipeError):
            _end_unheard()
        raise
    except Exception as error:
        if type(error).__name__ == "Abort":
            _end("interrupted", INTERRUPTED)
        if hasattr(error, "connection_invalidated"):
            # SQLAlchemy's, known by its form: importing it only to ask would slow every command.
            kind = type(getattr(error, "orig", None) or error).__name__
            _end(
                f"error: the database failed ({kind}); "
                "see that it runs, may be written and has room",
                2,
            )
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
    if status == INTERRUPTED:
        # The command-line library catches Ctrl-C itself and says nothing.
        _end("interrupted", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def _open_closed_streams() -> None:
    # A descriptor that is free is given to the next file that is opened, and that may be a database.
    for descriptor, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            sink = os.open(os.devnull, os.O_RDWR)
            if sink != descriptor:
                os.dup2(sink, descriptor)
                os.close(sink)
            setattr(sys, name, os.fdopen(descriptor, "w" if descriptor else "r"))


def _end_unheard() -> NoReturn:
    # Python flushes stdout at exit and would fail a second time: give it a sink.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    sys.exit(141)


def _end(line: str, status: int) -> NoReturn:
    print(line, file=sys.stderr)  # noqa: T201
    sys.exit(status)
