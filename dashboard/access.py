"""Who may look, who may change, and that it is they who ask.

Without a token nothing can be changed. With one, whoever has entered it may; the browser then holds a
signed cookie, never the token. On another address than loopback also looking takes it.
"""

import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

#: Seconds for which a browser stays signed in.
SIGNED_IN_SECONDS = 12 * 3600

#: Characters that a token has at least: 16 of them, drawn from hexadecimal digits, are 64 bits.
TOKEN_CHARACTERS = 16

#: Methods that change nothing.
_SAFE = frozenset({"GET", "HEAD"})

#: What a page may do: nothing from elsewhere, no script or style but the files that come with it.
SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
        "connect-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'self'; "
        "base-uri 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "SAMEORIGIN",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


@dataclass(frozen=True)
class Refusal:
    """Why a request is not answered, and with which status."""

    status: int
    reason: str


class Access:
    """Decides by the token, which is None where nothing may be changed.

    `open_to_look`: whether looking takes no token. `clock` gives seconds since 1970.
    """

    COOKIE = "labelstream"

    def __init__(
        self, token: str | None, *, open_to_look: bool, clock: Callable[[], float] = time.time
    ) -> None:
        self._token = token
        self._open_to_look = open_to_look
        self._clock = clock
        # A cookie is worth something to this process alone: another one, or a new token, signs anew.
        self._key = secrets.token_bytes(32)

    @property
    def changes_are_on(self) -> bool:
        """Whether anybody may change anything."""
        return self._token is not None

    def is_right(self, token: str) -> bool:
        """Whether this is the token; takes as long for a wrong one as for the right one."""
        if self._token is None:
            return False
        return hmac.compare_digest(token.encode(), self._token.encode())

    def new_cookie(self) -> str:
        """Return the value of a cookie that says: this browser has entered the token."""
        body = f"{secrets.token_hex(16)}.{int(self._clock()) + SIGNED_IN_SECONDS}"
        return f"{body}.{self._signature(body)}"

    def session(self, request: Request) -> str | None:
        """Return the name of the browser's session; None if it has not entered the token."""
        if self._token is None:
            return None
        body, _, signature = request.cookies.get(self.COOKIE, "").rpartition(".")
        name, _, until = body.partition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(body).encode()):
            return None
        return name if int(until) > self._clock() else None

    def may_change(self, request: Request) -> bool:
        """Whether whoever asks has entered the token."""
        return self.session(request) is not None

    def refusal(self, request: Request) -> Refusal | None:
        """Return why a request is refused; None if it is not.

        A request that changes something must come from a page of ours: browsers say where it comes
        from, in `Sec-Fetch-Site` or `Origin`, and a page of somebody else cannot change that.
        """
        if request.url.path == "/sign-in" or request.url.path.startswith("/static/"):
            return None if request.method in _SAFE else self._foreign(request)
        if request.method not in _SAFE:
            if not self.changes_are_on:
                return Refusal(
                    403, "changes are off: start the page with LABELSTREAM_DASHBOARD_TOKEN set"
                )
            if (foreign := self._foreign(request)) is not None:
                return foreign
            if not self.may_change(request):
                return Refusal(401, "changes need the token: sign in first")
            return None
        if not self._open_to_look and not self.may_change(request):
            return Refusal(401, "this page needs the token: sign in first")
        return None

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

    def _signature(self, body: str) -> str:
        return hmac.new(self._key, body.encode(), hashlib.sha256).hexdigest()
