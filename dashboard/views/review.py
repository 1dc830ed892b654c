"""The pages on which people answer: one row at a time, one key a label, every answer a correction."""

from urllib.parse import urlencode

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import RedirectResponse, Response
from starlette.routing import Route

from dashboard.asking import whole, words
from dashboard.figures.job_list import list_jobs
from dashboard.forms import read_form
from dashboard.reviewing import Answer, Reviewing, Reviews, Way
from dashboard.site import Site
from db.audits import audit
from db.corrections import NewCorrection, add_corrections, opinion_of, withdraw
from db.errors import UsageError
from db.ledger.jobs import JobRecord, get_job
from db.registry.names import parse_ref
from db.registry.versions import find_version
from training.review.names import Strategy
from training.review.picking import PickedRow, labels_of, next_rows

#: The keys of the labels, in their order; the letters of the other answers are none of them.
KEYS = "1234567890abcdefghijklmnopqrtvwxyz"

#: Answers of which a review's page shows what they were.
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
            Route("/review/{job:number}", self.job),
            Route("/review/{job:number}/row", self.row),
            Route("/review/{job:number}/answer", self.answer, methods=["POST"]),
        ]

    def jobs(self, request: Request) -> Response:
        """Show the jobs that there are rows of."""
        jobs = [job for job in list_jobs(self._site.store) if job.labeled]
        return self._site.page(request, "review_jobs.html", "Review", jobs=jobs)

    def job(self, request: Request) -> Response:
        """Show what answers tell of a job so far, and the ways to review more of it."""
        job = self._reviewed(request.path_params["job"])
        session = self._site.access.session(request)
        return self._site.page(
            request,
            "review_job.html",
            f"Review of job {job.id}",
            job_id=job.id,
            store_text=job.store_text,
            labels=labels_of(self._site.store, job.id),
            name=self._reviews.name(session) if session else None,
            found=audit(self._site.store, job.id),
        )

    async def call(self, request: Request) -> Response:
        """Take the name of who looks, once a session."""
        form = await read_form(request)
        name, to = words(form, "name"), whole(form, "job", 0)
        if not name:
            raise UsageError("give a name: corrections say whose they are")
        session = self._site.access.session(request)
        if session is None:
            raise HTTPException(403, "changes need the token")
        self._reviews.call(session, name)
        return RedirectResponse(f"/review/{to}" if to else "/review", 303)

    def row(self, request: Request) -> Response:
        """Show the next row."""
        way = _way(request.path_params["job"], request)
        self._reviewed(way.job)
        if (review := self._review(request, way)) is None:
            return RedirectResponse(f"/review/{way.job}", 303)
        with self._reviews.choosing:
            row = self._next(review)
            self._reviews.show(review, row)
        where = f"row {row.row}" if row else "done"
        return self._site.page(
            request,
            "review_row.html",
            f"Review of job {way.job}: {where}",
            job_id=way.job,
            row=row,
            # Those that the row's own version knows: another's would be refused.
            labels=find_version(self._site.store, parse_ref(row.version)).labels if row else (),
            keys=KEYS,
            way=way,
            asked=urlencode(_asked(way)),
            review=review,
            lately=review.answers[: -_SHOWN_ANSWERS - 1 : -1],
        )

    async def answer(self, request: Request) -> Response:
        """Take an answer, a skip or an undo, and go on."""
        form = await read_form(request)
        return await run_in_threadpool(self._answer, request, form)

    def _answer(self, request: Request, form: dict[str, str]) -> Response:
        way = _way(request.path_params["job"], request)
        self._reviewed(way.job)
        review = self._review(request, way)
        if review is not None:
            with review.lock:
                self._take(review, form)
            return RedirectResponse(f"/review/{way.job}/row?{urlencode(_asked(way))}", 303)
        return RedirectResponse(f"/review/{way.job}", 303)

    def _take(self, review: Reviewing, form: dict[str, str]) -> None:
        what = words(form, "what")
        if what == "undo":
            self._undo(review)
            return
        row = review.shown.get(whole(form, "row", 0))
        if row is None:
            raise UsageError("this row was not shown lately: go on from the review's page")
        if what == "label":
            review.take(self._corrected(review, row, words(form, "label")))
        elif what == "skip":
            review.take(Answer(row, None))
        else:
            raise UsageError("an answer is a label, a skip or an undo")

    def _corrected(self, review: Reviewing, row: PickedRow, label: str) -> Answer:
        store = self._site.store
        before = opinion_of(store, row.job, row.row, review.annotator)
        given = _correction(review, row, label, review.way.strategy.value)
        entered = add_corrections(store, [given])
        if entered.refused:
            raise UsageError(entered.refused[0].reason)
        return Answer(row, label, before, bool(entered.added))

    def _undo(self, review: Reviewing) -> None:
        """Take the last answer back in the table, and then here: it may be tried again."""
        if not review.answers:
            return
        last = review.answers[-1]
        if last.added:
            withdraw(self._site.store, last.row.job, last.row.row, review.annotator)
            # What they said of the row before, in another review, stands as it did.
            if last.before is not None:
                for strategy in sorted(last.before.strategies, key=str):
                    given = _correction(review, last.row, last.before.label, strategy)
                    add_corrections(self._site.store, [given])
        review.undone()

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

    def _reviewed(self, job_id: int) -> JobRecord:
        """Return a job whose rows are there; what was shown of a purged one is shown no more."""
        job = get_job(self._site.store, job_id)
        if job.state == "purged":
            self._reviews.forget(job_id)
            raise UsageError(f"job {job_id} was purged: its rows are gone")
        return job


def _correction(
    review: Reviewing, row: PickedRow, label: str, strategy: str | None
) -> NewCorrection:
    return NewCorrection(
        label,
        review.annotator,
        job=row.job,
        row=row.row,
        text_key=row.key or None,
        strategy=strategy,
    )


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
