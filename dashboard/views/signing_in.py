"""Entering the token, once a browser."""

from urllib.parse import quote

import anyio
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.access import SIGNED_IN_SECONDS
from dashboard.asking import words
from dashboard.forms import read_form
from dashboard.site import Site

#: Seconds that a wrong token takes, one after the other: trying many takes for ever.
_WRONG_SECONDS = 0.5


class SignInViews:
    """The form for the token, and the end of a session."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._guessing = anyio.Semaphore(1)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/sign-in", self.form, methods=["GET"]),
            Route("/sign-in", self.enter, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    def form(self, request: Request) -> Response:
        """Ask for the token."""
        return self._form(request, _own_path(words(request.query_params, "to")))

    async def enter(self, request: Request) -> Response:
        """Take the token, and give the browser its cookie."""
        form = await read_form(request)
        to = _own_path(words(form, "to"))
        access = self._site.access
        if not access.is_right(words(form, "token")):
            async with self._guessing:
                await anyio.sleep(_WRONG_SECONDS)
            return self._form(request, to, "That is not the token.", 401)
        response = RedirectResponse(quote(to, safe="/?&=%+#"), 303)
        response.set_cookie(
            access.cookie,
            access.begin_session(),
            max_age=SIGNED_IN_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    def leave(self, request: Request) -> Response:
        """End the browser's session."""
        self._site.access.end_session(request)
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._site.access.cookie)
        return response

    def _form(
        self, request: Request, to: str, wrong: str | None = None, status: int = 200
    ) -> Response:
        return self._site.page(request, "sign_in.html", "Sign in", status, to=to, wrong=wrong)


def _own_path(path: str) -> str:
    """Return `path` if it is one of this page, and nowhere else."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if is_own else "/"
