"""The pages on which people answer: one row at a time, one key a label, every answer a correction."""

from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.asking import form_text, whole
from dashboard.figures.job_list import list_jobs
from dashboard.reviewing import Reviewing, Reviews, Way
from dashboard.site import Site
from db.audits import audit
from db.corrections import NewCorrection, add_corrections, withdraw
from db.errors import UsageError
from db.ledger.jobs import get_job
from training.review.names import Strategy
from training.review.picking import PickedRow, labels_of, next_rows

#: Labels that have a key of their own: 1 to 9.
KEYED_LABELS = 9

#: Answers of which a review's line shows what they were.
_SHOWN_ANSWERS = 5


class ReviewViews:
    """Choosing what to review, the rows one by one, and what they tell of the model."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._reviews = Reviews()

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/review", self.jobs),
            Route("/review/name", self.call, methods=["POST"]),
            Route("/review/{job:int}", self.job),
            Route("/review/{job:int}/row", self.row),
            Route("/review/{job:int}/answer", self.answer, methods=["POST"]),
        ]

    def jobs(self, request: Request) -> Response:
        """Show the jobs that there are rows of."""
        jobs = [job for job in list_jobs(self._site.store) if job.labeled]
        return self._site.page(request, "review_jobs.html", "Review", jobs=jobs)

    def job(self, request: Request) -> Response:
        """Show what answers tell of a job so far, and the ways to review more of it."""
        job_id = request.path_params["job"]
        get_job(self._site.store, job_id)
        session = self._site.access.session(request)
        return self._site.page(
            request,
            "review_job.html",
            f"Review of job {job_id}",
            job_id=job_id,
            labels=labels_of(self._site.store, job_id),
            name=self._reviews.name(session) if session else None,
            found=audit(self._site.store, job_id),
        )

    async def call(self, request: Request) -> Response:
        """Take the name of who looks, once a session."""
        form = await request.form()
        name, to = form_text(form, "name"), whole(form, "job", 0)
        if not name:
            raise UsageError("give a name: corrections say whose they are")
        self._reviews.call(self._session(request), name)
        return RedirectResponse(f"/review/{to}" if to else "/review", 303)

    def row(self, request: Request) -> Response:
        """Show the next row."""
        way = _way(request.path_params["job"], request)
        get_job(self._site.store, way.job)
        if (review := self._review(request, way)) is None:
            return RedirectResponse(f"/review/{way.job}", 303)
        row = self._next(review)
        self._reviews.show(review, row)
        labels = labels_of(self._site.store, way.job)
        return self._site.page(
            request,
            "review_row.html",
            f"Review of job {way.job}",
            job_id=way.job,
            row=row,
            labels=labels,
            keyed=KEYED_LABELS,
            way=way,
            asked=urlencode(_asked(way)),
            review=review,
            lately=review.answers[: -_SHOWN_ANSWERS - 1 : -1],
        )

    async def answer(self, request: Request) -> Response:
        """Take an answer, a skip or an undo, and go on."""
        form = await request.form()
        return await run_in_threadpool(self._answer, request, dict(form))

    def _answer(self, request: Request, form: dict[str, object]) -> Response:
        way = _way(request.path_params["job"], request)
        review = self._review(request, way)
        if review is None:
            return RedirectResponse(f"/review/{way.job}", 303)
        what = form_text(form, "what")
        if what == "undo":
            self._undo(review)
            return self._on(way)
        row = review.shown.get(whole(form, "row", 0))
        if row is None:
            raise UsageError("this row was not shown lately: go on from the review's page")
        if what == "label":
            self._correct(review, row, form_text(form, "label"))
        elif what == "skip":
            review.take(row, None)
        else:
            raise UsageError("an answer is a label, a skip or an undo")
        return self._on(way)

    @staticmethod
    def _on(way: Way) -> Response:
        return RedirectResponse(f"/review/{way.job}/row?{urlencode(_asked(way))}", 303)

    def _correct(self, review: Reviewing, row: PickedRow, label: str) -> None:
        entered = add_corrections(
            self._site.store,
            [
                NewCorrection(
                    label,
                    review.annotator,
                    job=row.job,
                    row=row.row,
                    text_key=row.key or None,
                    strategy=review.way.strategy.value,
                )
            ],
        )
        if entered.refused:
            raise UsageError(entered.refused[0].reason)
        review.take(row, label)

    def _undo(self, review: Reviewing) -> None:
        last = review.undo()
        if last is not None and last.label is not None:
            withdraw(self._site.store, last.row.job, last.row.row, review.annotator)

    def _next(self, review: Reviewing) -> PickedRow | None:
        way = review.way
        if review.again:
            return review.again[-1]
        if review.now is not None and not review.is_answered(review.now):
            # The page was loaded again.
            return review.now
        others = self._reviews.in_hand(review)
        rows = next_rows(
            self._site.store,
            way.job,
            way.strategy,
            len(others) + 1,
            label=way.label,
            skipped=review.skipped,
        )
        free = [row for row in rows if row.row not in others]
        return next(iter(free or rows), None)

    def _review(self, request: Request, way: Way) -> Reviewing | None:
        session = self._site.access.session(request)
        name = self._reviews.name(session) if session else None
        return self._reviews.of(session, way, name) if session and name else None

    def _session(self, request: Request) -> str:
        session = self._site.access.session(request)
        assert session is not None, "changes are let through for who is signed in alone"  # noqa: S101
        return session


def _way(job: int, request: Request) -> Way:
    given = request.query_params
    strategy = given.get("strategy", Strategy.UNCERTAIN.value)
    if strategy not in list(Strategy):
        raise UsageError(f"rows are not chosen by {strategy[:40]!r}: {', '.join(Strategy)}")
    # A random audit of one label would tell nothing of how often the model is right.
    label = None if strategy == Strategy.RANDOM else given.get("label") or None
    return Way(job, Strategy(strategy), label)


def _asked(way: Way) -> dict[str, str]:
    asked = {"strategy": way.strategy.value}
    return asked if way.label is None else {**asked, "label": way.label}
