"""Who may look, who may change, and that it is they who ask.

Without a token nothing can be changed. With one, whoever has entered it may; the browser then holds the
random name of its session, never the token. On another address than loopback also looking takes it.
"""

import hmac
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from urllib.parse import urlsplit

from starlette.requests import Request

#: Seconds for which a browser stays signed in.
SIGNED_IN_SECONDS = 12 * 3600

#: Characters that a token has at least: 16 of them, drawn from hexadecimal digits, are 64 bits; and at most.
TOKEN_CHARACTERS, LONGEST_TOKEN = 16, 200

#: Browsers that may be signed in at once; the one that came first leaves.
_MOST_SESSIONS = 1000

#: Methods that change nothing.
_SAFE = frozenset({"GET", "HEAD"})

_SIGN_IN, _STATIC = "/sign-in", "/static/"

#: What a page may do: nothing from elsewhere, no script or style but the files that come with it. Where it
#: was is told to pages of ours alone; told to none, browsers would not say either where a form comes from.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'self'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered, and with which status."""

    status: int
    reason: str


class Access:
    """Decides by the token, which is None where nothing may be changed; safe for several threads.

    `open_to_look`: whether looking takes no token. `clock` gives seconds.
    """

    def __init__(
        self,
        token: str | None,
        *,
        open_to_look: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._token = token
        self._open_to_look = open_to_look
        self._clock = clock
        self._lock = Lock()
        #: Until when each browser is signed in, by the name of its session.
        self._sessions: OrderedDict[str, float] = OrderedDict()
        #: Of this page alone: another one on this machine has its own.
        self.cookie = f"labelstream-{secrets.token_hex(4)}"

    @property
    def changes_are_on(self) -> bool:
        """Whether anybody may change anything."""
        return self._token is not None

    def is_right(self, token: str) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one."""
        if self._token is None:
            return False
        return hmac.compare_digest(token.encode(), self._token.encode())

    def begin_session(self) -> str:
        """Return the name of a new session, for the cookie of a browser that has entered the token."""
        name = secrets.token_urlsafe(32)
        with self._lock:
            self._sessions[name] = self._clock() + SIGNED_IN_SECONDS
            while len(self._sessions) > _MOST_SESSIONS:
                self._sessions.popitem(last=False)
        return name

    def end_session(self, request: Request) -> None:
        """Let the browser's session end, whoever has its name."""
        with self._lock:
            self._sessions.pop(request.cookies.get(self.cookie, ""), None)

    def session(self, request: Request) -> str | None:
        """Return the name of the browser's session; None if it has not entered the token."""
        name = request.cookies.get(self.cookie, "")
        with self._lock:
            until = self._sessions.get(name)
        return name if until is not None and until > self._clock() else None

    def may_change(self, request: Request) -> bool:
        """Whether whoever asks has entered the token."""
        return self.session(request) is not None

    def refusal(self, request: Request) -> Refusal | None:
        """Return why a request is refused; None if it is not.

        A request that changes something must come from a page of ours: browsers say where it comes
        from, in `Sec-Fetch-Site` or `Origin`, and a page of somebody else cannot change that.
        """
        # As the server has it: a URL is made with what the request calls the host.
        path = request.scope["path"]
        if request.method in _SAFE:
            if self._open_to_look or path == _SIGN_IN or path.startswith(_STATIC):
                return None
            return None if self.may_change(request) else _UNKNOWN_READER
        if path == _SIGN_IN:
            return self._foreign(request)
        if not self.changes_are_on:
            return Refusal(
                403, "changes are off: start the page with LABELSTREAM_DASHBOARD_TOKEN set"
            )
        return self._foreign(request) or (None if self.may_change(request) else _UNKNOWN_WRITER)

    def _foreign(self, request: Request) -> Refusal | None:
        site = request.headers.get("sec-fetch-site")
        origin = request.headers.get("origin")
        ours = (
            site == "same-origin"
            if site is not None
            else origin is not None and urlsplit(origin).netloc == request.headers.get("host")
        )
        return (
            None if ours else Refusal(403, "this request did not come from a page of Labelstream")
        )


_UNKNOWN_READER = Refusal(401, "this page needs the token: sign in first")
_UNKNOWN_WRITER = Refusal(401, "changes need the token: sign in first")
