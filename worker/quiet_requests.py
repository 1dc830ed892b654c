"""Messages as this worker shows them, in task events, logs and answers to `celery inspect`: no text.

Whoever sends a task writes into its message how its arguments are to be shown. Celery's own way is
to show them, and those of another client are people's texts.
"""

import re
from typing import Any

from celery import Task
from celery.exceptions import InvalidTaskError
from celery.worker.request import Request

#: How our own messages show themselves.
_OURS = re.compile(r"\(job \d{1,19} chunk \d{1,19}\)")

_WITHHELD = "(not shown)"


class QuietRequest(Request):  # type: ignore[misc]
    """A message whose arguments are shown only where they are known to be numbers."""

    def __init__(self, message: Any, **options: Any) -> None:
        try:
            super().__init__(message, **options)
        except (AttributeError, KeyError, TypeError, ValueError):
            # Not let out: Celery would end the worker over a message that is none of its own.
            raise InvalidTaskError("its form is not Celery's") from None
        shown = self._request_dict.get("argsrepr")
        if not isinstance(shown, str) or not _OURS.fullmatch(shown):
            shown = _WITHHELD
        self._argsrepr, self._kwargsrepr = shown, "{}"
        self._request_dict.update(argsrepr=shown, kwargsrepr="{}")

    def info(self, safe: bool = False) -> Any:
        """Return what `celery inspect` is told, never the arguments themselves."""
        return super().info(safe=True)


class QuietTask(Task):  # type: ignore[misc]
    """The base of every task of this worker."""

    abstract = True
    Request = "worker.quiet_requests:QuietRequest"
