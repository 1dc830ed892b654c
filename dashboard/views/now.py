"""The page *Now*: what runs, how fast, who works, and what waits."""

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import drawing
from dashboard.figures.job_list import running_jobs
from dashboard.figures.kept_totals import KeptTotals
from dashboard.figures.throughput import LOOK_BACK_SECONDS, ThroughputLine
from dashboard.site import Site
from db.ledger.backlog import backlog
from db.ledger.rates import flow
from db.ledger.workers import living_workers


class NowViews:
    """What runs now; the part that moves is asked for again every two seconds."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._line = ThroughputLine(site.store)
        self._totals = KeptTotals(site.store)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [Route("/", self.page), Route("/now", self.part)]

    def page(self, request: Request) -> Response:
        """Show the page."""
        return self._shown(request, "now.html")

    def part(self, request: Request) -> Response:
        """Show the part that moves."""
        return self._shown(request, "parts/now.html")

    def _shown(self, request: Request, template: str) -> Response:
        store = self._site.store
        lately = self._line.now()
        jobs = running_jobs(store, self._totals)
        waiting = backlog(store)
        rate = sum(lately.rows_per_second[-6:]) / 6
        return self._site.page(
            request,
            template,
            "Now",
            jobs=[(job, flow(store, job.id)) for job in jobs],
            workers=living_workers(store),
            waiting=waiting,
            lag=max((queue.lag_seconds for queue in waiting.queues), default=0.0),
            open_chunks=sum(queue.queued + queue.leased for queue in waiting.queues),
            rate=rate,
            ended_at=lately.ended_at,
            line=drawing.line(
                lately.rows_per_second,
                f"Rows a second over the last {LOOK_BACK_SECONDS // 60} minutes: now {rate:,.0f}, "
                f"at most {max(lately.rows_per_second):,.0f}",
            ),
            most=max(lately.rows_per_second),
        )
