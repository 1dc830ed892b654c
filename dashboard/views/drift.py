"""The page of drift: what a version labels now beside what it was measured on."""

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from threading import Lock
from typing import Any

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from dashboard import drawing
from dashboard.asking import whole
from dashboard.figures.days import CountTokens, DayCounts, day_counts
from dashboard.figures.stability import SHIFTED, stability_index
from dashboard.site import Site
from db.errors import RegistryError
from db.registry.aliases import list_aliases
from db.registry.names import DEFAULT_ALIAS, ModelRef
from db.registry.versions import Version, find_version, list_versions

#: Days that are shown, and those of them that are "this week".
DAYS, WEEK = 14, 7

#: Days that are kept: what is over does not change.
_KEPT_DAYS = 1000

#: Files of a merged model that tell how it reads.
_READING = ("tokenizer.json", "config.json")


@dataclass(frozen=True)
class Day:
    """One day beside the reference; None where there is nothing to compare."""

    day: date
    rows: int
    labels: float | None
    confidence: float | None
    tokens: float | None


class DriftViews:
    """How far the rows of each day are from a version's reference."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = Lock()
        self._days: OrderedDict[tuple[str, date], DayCounts] = OrderedDict()

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [Route("/drift", self.page), Route("/drift/{model}/{version:int}", self.version)]

    def page(self, request: Request) -> Response:
        """Show the versions that serve."""
        serving = [
            f"{model}:{version}"
            for (model, alias), version in sorted(list_aliases(self._site.store).items())
            if alias == DEFAULT_ALIAS
        ]
        versions = [version for version in list_versions(self._site.store) if version.reference]
        return self._site.page(
            request, "drift_versions.html", "Drift", versions=versions[::-1], serving=serving
        )

    def version(self, request: Request) -> Response:
        """Show a version's last fourteen days."""
        given = request.path_params
        version = find_version(self._site.store, ModelRef(given["model"], None, given["version"]))
        if not version.reference:
            raise RegistryError(f"model {version} has no reference: it was never measured here")
        back = whole(request.query_params, "back", 0)
        today = datetime.now(UTC).date() - timedelta(days=min(back, 36500))
        reader = self._reader(version)
        days = [today - timedelta(days=ago) for ago in range(DAYS)]
        counts = [self._counts(version, day, reader) for day in days]
        reference = version.reference
        week = _added(counts[:WEEK], version.labels)
        return self._site.page(
            request,
            "drift.html",
            f"Drift of {version}",
            version=version,
            reference_rows=reference["rows"],
            split=reference["split"],
            days=[_day(day, found, version) for day, found in zip(days, counts, strict=True)],
            week=week,
            week_labels=[
                (
                    label,
                    reference["labels"].get(label, 0) / max(reference["rows"], 1),
                    week.labels[label] / week.rows if week.rows else 0.0,
                )
                for label in version.labels
            ],
            bar=drawing.bar,
            confidence=_beside(reference["confidence"], week.confidence, "confidence"),
            tokens=_beside(reference["tokens"]["counts"], week.tokens, "number of tokens"),
            has_tokens=reader is not None,
            shifted=SHIFTED,
            back=back,
            newer=max(back - DAYS, 0),
            older=back + DAYS,
        )

    def _counts(self, version: Version, day: date, reader: CountTokens | None) -> DayCounts:
        key = (f"{version} {reader is not None}", day)
        with self._lock:
            if (known := self._days.get(key)) is not None:
                return known
        found = day_counts(self._site.store, version, day, reader)
        # What was closed before midnight is committed soon after it.
        if day < (datetime.now(UTC) - timedelta(hours=1)).date():
            with self._lock:
                self._days[key] = found
                while len(self._days) > _KEPT_DAYS:
                    self._days.popitem(last=False)
        return found

    def _reader(self, version: Version) -> CountTokens | None:
        """Return what counts tokens as the version does; None where its files are not here."""
        hashes = version.merged_sha256 or {}
        if version.merged is None or any(name not in hashes for name in _READING):
            return None
        from worker.encoder import TokenizerEncoder

        try:
            folder = self._site.artifacts.verified(
                version.merged, {name: hashes[name] for name in _READING}
            )
        except RegistryError:
            return None
        encoder = TokenizerEncoder(folder, version.max_length)
        return lambda texts: encoder.encode(texts).lengths.tolist()


def _day(day: date, found: DayCounts, version: Version) -> Day:
    reference: Mapping[str, Any] = version.reference or {}
    return Day(
        day,
        found.rows,
        stability_index(
            [reference["labels"].get(label, 0) for label in version.labels],
            [found.labels.get(label, 0) for label in version.labels],
        ),
        stability_index(reference["confidence"], found.confidence),
        stability_index(reference["tokens"]["counts"], found.tokens),
    )


def _added(days: Sequence[DayCounts], labels: Sequence[str]) -> DayCounts:
    return DayCounts(
        {label: sum(day.labels.get(label, 0) for day in days) for label in labels},
        [sum(bins) for bins in zip(*(day.confidence for day in days), strict=True)],
        [sum(bins) for bins in zip(*(day.tokens for day in days), strict=True)],
    )


def _beside(reference: Sequence[int], now: Sequence[int], what: str) -> str:
    shares = [[count / max(sum(counts), 1) for count in counts] for counts in (now, reference)]
    index = stability_index(reference, now)
    told = "nothing to compare" if index is None else f"stability index {index:.3f}"
    return drawing.columns(shares[0], f"Rows of this week by {what}; {told}", beside=shares[1])
