"""What all views share: the store, the registry's files, the pages' templates, who may do what."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from starlette.requests import Request
from starlette.responses import HTMLResponse

from dashboard.access import Access
from db.registry.artifacts import ArtifactStore
from db.settings import Settings
from db.store import Store

FOLDER = Path(__file__).parent

#: The pages of the navigation: address and name.
PAGES = (
    ("/", "Now"),
    ("/jobs", "Jobs"),
    ("/review", "Review"),
    ("/models", "Models"),
    ("/drift", "Drift"),
)


@dataclass(frozen=True)
class Site:
    """The collaborators of all views."""

    store: Store
    settings: Settings
    artifacts: ArtifactStore
    access: Access

    def page(
        self, request: Request, template: str, title: str, status: int = 200, **context: Any
    ) -> HTMLResponse:
        """Render a page, or a part of one."""
        return HTMLResponse(self.rendered(request, template, title=title, **context), status)

    def rendered(self, request: Request, template: str, **context: Any) -> str:
        """Render a template to text; everything in it is escaped."""
        given: Mapping[str, Any] = {
            **context,
            "pages": PAGES,
            "path": request.url.path,
            "changes_are_on": self.access.changes_are_on,
            "may_change": self.access.may_change(request),
        }
        return _ENVIRONMENT.get_template(template).render(given)


def _count(value: int | float) -> str:
    return f"{value:,.0f}"


def _share(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{100 * value:.{digits}f} %"


def _figure(value: float | None, digits: int = 4) -> str:
    return "–" if value is None else f"{value:.{digits}f}"


def _time(value: datetime | None) -> str:
    return "–" if value is None else value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S")


def _seconds(value: float) -> str:
    """Return a span of time in the unit that suits it."""
    if value < 120:
        return f"{value:.1f} s" if value < 10 else f"{value:.0f} s"
    minutes, hours = value / 60, value / 3600
    return f"{minutes:.0f} min" if minutes < 120 else f"{hours:.0f} h"


def _svg(drawn: str) -> Markup:
    """Let a drawing of ours through; its words were escaped when it was drawn."""
    return Markup(drawn)  # noqa: S704


_ENVIRONMENT = Environment(
    loader=FileSystemLoader(FOLDER / "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_ENVIRONMENT.filters |= {
    "count": _count,
    "share": _share,
    "figure": _figure,
    "time": _time,
    "seconds": _seconds,
    "svg": _svg,
}
