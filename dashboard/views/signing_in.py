"""Entering the token, once a browser."""

from urllib.parse import quote

from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.access import SIGNED_IN_SECONDS
from dashboard.asking import form_text
from dashboard.site import Site

#: Seconds that a wrong token takes: trying many takes for ever.
_WRONG_SECONDS = 0.5


class SignInViews:
    """The form for the token, and the end of a session."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/sign-in", self.form, methods=["GET"]),
            Route("/sign-in", self.enter, methods=["POST"]),
            Route("/sign-out", self.leave, methods=["POST"]),
        ]

    def form(self, request: Request) -> Response:
        """Ask for the token."""
        return self._form(request, _own_path(request.query_params.get("to", "/")))

    async def enter(self, request: Request) -> Response:
        """Take the token, and give the browser its cookie."""
        form = await request.form()
        to = _own_path(form_text(form, "to"))
        if not self._site.access.is_right(form_text(form, "token")):
            return await _later(self._form(request, to, "That is not the token.", 401))
        response = RedirectResponse(quote(to), 303)
        response.set_cookie(
            self._site.access.COOKIE,
            self._site.access.new_cookie(),
            max_age=SIGNED_IN_SECONDS,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
        )
        return response

    def leave(self, request: Request) -> Response:
        """Forget the browser."""
        response = RedirectResponse("/", 303)
        response.delete_cookie(self._site.access.COOKIE)
        return response

    def _form(
        self, request: Request, to: str, wrong: str | None = None, status: int = 200
    ) -> Response:
        return self._site.page(request, "sign_in.html", "Sign in", status, to=to, wrong=wrong)


async def _later(response: Response) -> Response:
    import anyio

    await anyio.sleep(_WRONG_SECONDS)
    return response


def _own_path(path: str) -> str:
    """Return `path` if it is one of this page, and nowhere else."""
    is_own = path.startswith("/") and not path.startswith("//") and "\\" not in path
    return path if is_own else "/"
