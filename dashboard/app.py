"""The application: its addresses, and what stands around every answer."""

import logging
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from urllib.parse import quote, urlsplit

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from starlette.applications import Starlette
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.base import BaseHTTPMiddleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Mount
from starlette.staticfiles import StaticFiles
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from dashboard import numbers
from dashboard.access import SECURITY_HEADERS
from dashboard.asking import is_part
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


def make_app(site: Site, hosts: tuple[str, ...] = LOOPBACK_HOSTS) -> ASGIApp:
    """Return the application; it answers to the names of `hosts` alone ("*": to any)."""

    async def guarded(request: Request, call: Callable[[Request], Awaitable[Response]]) -> Response:
        refusal = site.access.refusal(request)
        if refusal is None:
            return await call(request)
        if refusal.status == HTTPStatus.UNAUTHORIZED and not is_part(request):
            return RedirectResponse(f"/sign-in?to={quote(_page_of(request))}", 303)
        return _told(site, request, refusal.status, refusal.reason)

    def told(request: Request, error: Exception) -> Response:
        return _failed(site, request, error)

    numbers.register()
    views = (NowViews, JobViews, ReviewViews, ModelViews, DriftViews, SignInViews)
    routes = [route for each in views for route in each(site).routes()]
    app = Starlette(
        routes=[*routes, Mount("/static", StaticFiles(directory=FOLDER / "static"))],
        middleware=[
            Middleware(TrustedHostMiddleware, allowed_hosts=list(hosts), www_redirect=False),
            Middleware(BaseHTTPMiddleware, dispatch=guarded),
        ],
        exception_handlers={
            LabelstreamError: told,
            HTTPException: told,
            DBAPIError: told,
            PoolTimeoutError: told,
            Exception: told,
        },
    )
    return _with_headers(app)


def _with_headers(app: ASGIApp) -> ASGIApp:
    """Give every answer its headers, be it a refusal or an error's from the outermost layer."""

    async def answering(scope: Scope, receive: Receive, send: Send) -> None:
        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                # What a browser keeps of these it asks for again; of pages with texts it keeps nothing.
                kept = scope["path"].startswith("/static/")
                headers.setdefault("Cache-Control", "no-cache" if kept else "no-store")
            await send(message)

        await app(scope, receive, send_with_headers if scope["type"] == "http" else send)

    return answering


def _page_of(request: Request) -> str:
    """Return the page to go back to: the one that was asked for, or the one with the form."""
    came = urlsplit(
        str(request.url) if request.method == "GET" else request.headers.get("referer", "/")
    )
    return came.path + (f"?{came.query}" if came.query else "")


def _failed(site: Site, request: Request, error: Exception) -> Response:
    if isinstance(error, HTTPException):
        missing = error.status_code == HTTPStatus.NOT_FOUND
        return _told(
            site, request, error.status_code, "there is no such page" if missing else error.detail
        )
    if isinstance(error, ServiceUnavailable | RegistryUnavailable):
        return _told(site, request, HTTPStatus.SERVICE_UNAVAILABLE, one_line(error))
    if isinstance(error, LabelstreamError):
        return _told(site, request, HTTPStatus.BAD_REQUEST, one_line(error))
    if isinstance(error, DBAPIError | PoolTimeoutError):
        log.warning("the database failed (%s)", type(error).__name__)
        reason = "the database does not answer; try again in a while"
        return _told(site, request, HTTPStatus.SERVICE_UNAVAILABLE, reason)
    log.error("%s %s failed", request.method, request.scope["path"], exc_info=error)
    reason = "something went wrong here; the log says what"
    return _told(site, request, HTTPStatus.INTERNAL_SERVER_ERROR, reason)


def _told(site: Site, request: Request, status: int, reason: str) -> Response:
    template = "parts/failure.html" if is_part(request) else "failure.html"
    return site.page(request, template, "That did not work", status, reason=reason)
