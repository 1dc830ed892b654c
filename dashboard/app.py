"""The application: its addresses, and what stands around every answer."""

import logging
from collections.abc import Awaitable, Callable

from sqlalchemy.exc import DBAPIError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles

from dashboard.access import SECURITY_HEADERS
from dashboard.site import FOLDER, Site
from dashboard.views.drift import DriftViews
from dashboard.views.job import JobViews
from dashboard.views.models import ModelViews
from dashboard.views.now import NowViews
from dashboard.views.review import ReviewViews
from dashboard.views.signing_in import SignInViews
from db.errors import LabelstreamError, RegistryUnavailable, ServiceUnavailable, one_line

log = logging.getLogger(__name__)

#: How loopback may be called; a page of somebody else that calls it otherwise is not answered.
LOOPBACK_HOSTS = ("localhost", "127.0.0.1", "[::1]")


def make_app(site: Site, hosts: tuple[str, ...] = LOOPBACK_HOSTS) -> Starlette:
    """Return the application; it answers to the names of `hosts` alone ("*": to any)."""

    async def guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = site.access.refusal(request)
        if refusal is None:
            response = await call(request)
        elif refusal.status == 401 and request.method == "GET" and not _is_part(request):
            response = RedirectResponse(f"/sign-in?to={request.url.path}", 303)
        else:
            response = _told(site, request, refusal.status, refusal.reason)
        for name, value in SECURITY_HEADERS.items():
            response.headers.setdefault(name, value)
        return response

    def told(request: Request, error: Exception) -> Response:
        return _failed(site, request, error)

    views = (NowViews, JobViews, ReviewViews, ModelViews, DriftViews, SignInViews)
    routes = [route for each in views for route in each(site).routes()]
    return Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=FOLDER / "static"))],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(BaseHTTPMiddleware, dispatch=guarded),
        ],
        exception_handlers={
            LabelstreamError: told,
            HTTPException: told,
            DBAPIError: told,
            Exception: told,
        },
    )


def _failed(site: Site, request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        reason = "there is no such page" if error.status_code == 404 else error.detail
        return _told(site, request, error.status_code, reason)
    if isinstance(error, ServiceUnavailable | RegistryUnavailable):
        return _told(site, request, 503, one_line(error))
    if isinstance(error, LabelstreamError):
        return _told(site, request, 400, one_line(error))
    if isinstance(error, DBAPIError):
        log.warning("the database failed (%s)", type(error).__name__)
        return _told(site, request, 503, "the database does not answer; try again in a while")
    log.exception("%s %s failed", request.method, request.url.path)
    return _told(site, request, 500, "something went wrong here; the log says what")


def _told(site: Site, request: Request, status: int, reason: str) -> Response:
    template = "parts/failure.html" if _is_part(request) else "failure.html"
    return site.page(request, template, "That did not work", status, reason=reason)


def _is_part(request: Request) -> bool:
    """Whether a script asks for a part of a page that is shown already."""
    return request.headers.get("x-part") == "1"
