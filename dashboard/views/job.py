"""The pages of jobs: the list, and of one its labels, rows, rejects and files to download."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from starlette.requests import Request
from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from dashboard import drawing
from dashboard.asking import fraction, whole, words
from dashboard.figures.job_list import PAGE_JOBS, list_jobs
from dashboard.figures.kept_totals import KeptTotals
from dashboard.figures.labels import CONFIDENCE_BINS, LabelCounts, LabelsOverTime
from dashboard.figures.rejects import PAGE_REJECTS, rejected_rows
from dashboard.figures.rows import (
    PAGE_ROWS,
    Order,
    Place,
    Row,
    RowFilter,
    every_row,
    find_rows,
)
from dashboard.saving import csv_parts, parquet_parts
from dashboard.site import Site
from db.errors import UsageError
from db.ledger.jobs import JobRecord, get_job
from db.ledger.rates import flow
from db.ledger.totals import reject_reasons

#: The first bin of 20 that is at 0.9 or above.
_SURE_FROM = 18


class JobViews:
    """What became of the rows of jobs."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._labels = LabelCounts(site.store)
        self._totals = KeptTotals(site.store)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/jobs", self.jobs),
            Route("/jobs/{job:number}", self.job),
            Route("/jobs/{job:number}/now", self.totals),
            Route("/jobs/{job:number}/labels", self.labels),
            Route("/jobs/{job:number}/rejects", self.rejects),
            Route("/jobs/{job:number}/rows.csv", self.csv),
            Route("/jobs/{job:number}/rows.parquet", self.parquet),
        ]

    def jobs(self, request: Request) -> Response:
        """Show the jobs, the newest first."""
        before = whole(request.query_params, "before", 0) or None
        jobs = list_jobs(self._site.store, self._totals, before=before)
        more = jobs[-1].id if len(jobs) == PAGE_JOBS else None
        return self._site.page(request, "jobs.html", "Jobs", jobs=jobs, more=more)

    def job(self, request: Request) -> Response:
        """Show one job: what it amounts to, and a page of its rows."""
        job_id = request.path_params["job"]
        job = get_job(self._site.store, job_id)
        asked, after = _asked(job_id, request.query_params), _after(request.query_params)
        rows = [] if job.state == "purged" else find_rows(self._site.store, asked, after)
        filters = _words(asked)
        following = None
        if len(rows) == PAGE_ROWS:
            place = rows[-1].place
            following = urlencode(
                {**filters, "after": place.row, "after_confidence": repr(place.confidence)}
            )
        return self._site.page(
            request,
            "job.html",
            f"Job {job_id}",
            **self._counts(job),
            rows=rows,
            asked=asked,
            is_first=after is None,
            filters=urlencode(filters),
            following=following,
        )

    def totals(self, request: Request) -> Response:
        """Show the counts of a job that runs."""
        job_id = request.path_params["job"]
        job = get_job(self._site.store, job_id)
        return self._site.page(
            request,
            "parts/totals.html",
            f"Job {job_id}",
            **self._counts(job),
        )

    def _counts(self, job: JobRecord) -> dict[str, Any]:
        """Return what `parts/totals.html` shows."""
        return {
            "job": job,
            "totals": self._totals.of(job.id, job.state),
            "flow": flow(self._site.store, job.id) if job.state == "running" else None,
        }

    def labels(self, request: Request) -> Response:
        """Show the labels of a job in pictures."""
        job_id = request.path_params["job"]
        job = get_job(self._site.store, job_id)
        labels = self._labels.of(job_id)
        found, over_time = labels.figures, labels.over_time
        colours = {label: place for place, label in enumerate(sorted(found.mix))}
        return self._site.page(
            request,
            "parts/labels.html",
            f"Labels of job {job_id}",
            job=job,
            found=found,
            colours=colours,
            bars={
                label: drawing.bar(count / found.rows, colours[label])
                for label, count in found.mix.items()
            },
            over_time=over_time,
            over_time_picture=_over_time_picture(over_time, colours) if over_time else "",
            bins=[
                (place / CONFIDENCE_BINS, (place + 1) / CONFIDENCE_BINS, count)
                for place, count in enumerate(found.confidence)
            ],
            confidence=drawing.columns(found.confidence, _confidence_title(found.confidence)),
        )

    def rejects(self, request: Request) -> Response:
        """Show the rows without a label, by reason."""
        job_id = request.path_params["job"]
        job = get_job(self._site.store, job_id)
        reason = words(request.query_params, "reason")
        after = whole(request.query_params, "after", 0)
        rows = rejected_rows(self._site.store, job_id, reason, after)
        more = None
        if len(rows) == PAGE_REJECTS:
            more = urlencode({"reason": reason, "after": rows[-1].row})
        return self._site.page(
            request,
            "rejects.html",
            f"Rejects of job {job_id}",
            job=job,
            reasons=reject_reasons(self._site.store, job_id),
            reason=reason,
            rows=rows,
            more=more,
        )

    def csv(self, request: Request) -> Response:
        """Give the rows as CSV, filtered as they are shown."""
        return self._file(request, csv_parts, "csv", "text/csv; charset=utf-8")

    def parquet(self, request: Request) -> Response:
        """Give the rows as Parquet, filtered as they are shown."""
        return self._file(request, parquet_parts, "parquet", "application/vnd.apache.parquet")

    def _file(
        self,
        request: Request,
        parts: Callable[[Iterable[Sequence[Row]]], Iterator[bytes]],
        ending: str,
        media_type: str,
    ) -> Response:
        job_id = request.path_params["job"]
        if get_job(self._site.store, job_id).state == "purged":
            raise UsageError(f"job {job_id} was purged: its rows are gone, its counts stay")
        asked = _asked(job_id, request.query_params)
        return StreamingResponse(
            parts(every_row(self._site.store, asked)),
            media_type=media_type,
            headers={"Content-Disposition": f'attachment; filename="job-{job_id}.{ending}"'},
        )


def _asked(job: int, given: Mapping[str, str]) -> RowFilter:
    order = given.get("order", Order.ROW)
    if order not in list(Order):
        raise UsageError(f"rows are not ordered by {order[:40]!r}: row or confidence")
    return RowFilter(
        job=job,
        words=words(given, "words"),
        label=words(given, "label"),
        at_least=fraction(given, "at_least"),
        at_most=fraction(given, "at_most"),
        only_unsure=given.get("unsure") == "1",
        order=Order(order),
    )


def _after(given: Mapping[str, str]) -> Place | None:
    if "after" not in given:
        return None
    return Place(whole(given, "after", 0), fraction(given, "after_confidence") or 0.0)


def _words(asked: RowFilter) -> dict[str, str]:
    """Return the filter as an address has it."""
    words = {
        "words": asked.words,
        "label": asked.label,
        "at_least": "" if asked.at_least is None else repr(asked.at_least),
        "at_most": "" if asked.at_most is None else repr(asked.at_most),
        "unsure": "1" if asked.only_unsure else "",
        "order": "" if asked.order is Order.ROW else asked.order.value,
    }
    return {name: value for name, value in words.items() if value}


def _over_time_picture(found: LabelsOverTime, colours: Mapping[str, int]) -> str:
    """Draw the labels over the time from the first point's beginning to the last one's end."""
    begin, whole = found.times[0] - found.step / 2, found.times[-1] - found.times[0] + found.step
    return drawing.stacked(
        [(time - begin) / whole if whole else 0.5 for time in found.times],
        found.step / whole if whole else 1.0,
        found.shares,
        {label: colours.get(label, 0) for label in found.shares},
        "Share of each label over the time of labelling, left to right",
        found.after_gap,
    )


def _confidence_title(counts: Sequence[int]) -> str:
    rows = sum(counts)
    sure = sum(counts[_SURE_FROM:]) / rows if rows else 0.0
    return f"Rows by confidence, from 0 to 1; {sure:.0%} of them are at 0.9 or above"
