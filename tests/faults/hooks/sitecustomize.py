"""Imported by every Python process that the fault tests start: what is done to it from outside.

`FAULTS_CLOCK` multiplies the times of the ledger, so that a test need not wait for a lease of 15 s.
`FAULTS_DIE_BEFORE` names a call, such as `worker.outbox:CeleryOutbox.send:5`: at the fifth such call
of its main thread the process kills itself with -9 in place of making it.
"""

import importlib
import os
import signal
import threading
from collections.abc import Callable
from typing import Any

#: What of db.defaults is a time that everything else is measured by.
_TIMES = ("LEASE_SECONDS", "RENEW_SECONDS", "SWEEP_SECONDS", "RESEND_AFTER_SECONDS")


def _turn_the_clock(factor: float) -> None:
    # Before any other file of the project takes them from there.
    from db import defaults

    for name in _TIMES:
        setattr(defaults, name, getattr(defaults, name) * factor)


def _die_before(call: str) -> None:
    module, place, number = call.split(":")
    owner, _, method = place.partition(".")
    holder = getattr(importlib.import_module(module), owner)
    setattr(holder, method, _deadly(getattr(holder, method), int(number)))


def _deadly(method: Callable[..., Any], number: int) -> Callable[..., Any]:
    calls = 0

    def instead(*arguments: Any, **named: Any) -> Any:
        nonlocal calls
        # The sweeper's thread makes such calls as well, for chunks that are long in the ledger.
        if threading.current_thread() is threading.main_thread():
            calls += 1
            if calls == number:
                os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments, **named)

    return instead


if "FAULTS_CLOCK" in os.environ:
    _turn_the_clock(float(os.environ["FAULTS_CLOCK"]))
if "FAULTS_DIE_BEFORE" in os.environ:
    _die_before(os.environ["FAULTS_DIE_BEFORE"])
