"""The gate that lets one thread run a suspect chunk while its process holds no other."""

import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager


class GateClosed(Exception):
    """Nobody is let in any more."""


class Gate:
    """Many may be inside together, or one alone; they are let in in the order in which they came.

    So nobody waits for ever: newcomers do not keep out who wants to be alone, nor does one suspect
    after another keep out the others. Who waits holds nothing, so that no lease runs meanwhile.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._waiting: deque[object] = deque()
        self._inside = 0
        self._alone = False
        self._closed = False

    @property
    def waiting(self) -> int:
        """How many wait to be let in."""
        with self._changed:
            return len(self._waiting)

    def close(self) -> None:
        """Let nobody in any more; those who are inside stay until they are done."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Be inside with others; waits while somebody is alone, or waits to be since before.

        Raises `GateClosed`, at once, when the gate is closed.
        """
        with self._changed:
            self._wait_for_turn(alone=False)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Be inside with nobody else; waits until everybody has left who came before.

        Raises `GateClosed`, at once, when the gate is closed.
        """
        with self._changed:
            self._wait_for_turn(alone=True)
            self._alone = True
        try:
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()

    def _wait_for_turn(self, *, alone: bool) -> None:
        turn = object()
        self._waiting.append(turn)

        def may_enter() -> bool:
            occupied = self._alone or (alone and self._inside > 0)
            return self._waiting[0] is turn and not occupied

        try:
            self._changed.wait_for(lambda: self._closed or may_enter())
            if self._closed:
                raise GateClosed
        finally:
            self._waiting.remove(turn)
            # The next in turn may perhaps come in as well.
            self._changed.notify_all()
