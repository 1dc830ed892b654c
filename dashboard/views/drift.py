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
from dashboard.figures.days import CountTokens, DayCounts, added, day_counts, purges
from dashboard.figures.stability import SHIFTED, Shift, shift
from dashboard.site import Site
from db.errors import RegistryError
from db.registry.aliases import list_aliases
from db.registry.names import DEFAULT_ALIAS, ModelRef
from db.registry.versions import Version, find_version, list_versions
from training.reference import CONFIDENCE_BINS, TOKEN_EDGES

#: Days that are shown, and those of them that are "this week".
DAYS, WEEK = 14, 7

#: Days that are kept: what is over does not change.
_KEPT_DAYS = 1000

#: Versions whose tokenizer is kept; the one that was used least lately leaves.
_KEPT_READERS = 4

#: Files of a merged model that tell how it reads.
_READING = ("tokenizer.json", "config.json")


_CONFIDENCE_NAMES = [
    f"{place / CONFIDENCE_BINS:.2f} to {(place + 1) / CONFIDENCE_BINS:.2f}"
    for place in range(CONFIDENCE_BINS)
]
_TOKEN_NAMES = [*(f"up to {edge}" for edge in TOKEN_EDGES), "more"]


@dataclass(frozen=True)
class Day:
    """One day beside the reference."""

    day: date
    rows: int
    labels: Shift
    confidence: Shift
    tokens: Shift


class DriftViews:
    """How far the rows of each day are from a version's reference."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = Lock()
        #: By version with or without its tokens, purges of its model so far, and day: a purge takes rows
        #: from days, and what was counted before it is not shown any more.
        self._days: OrderedDict[tuple[str, int, date], DayCounts] = OrderedDict()
        self._reading = Lock()
        #: By version and the hashes of its files.
        self._readers: OrderedDict[tuple[str, ...], CountTokens] = OrderedDict()

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [Route("/drift", self.page), Route("/drift/{model}/{version:number}", self.version)]

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
        purged = purges(self._site.store, version.model)
        counts = [self._counts(version, purged, day, reader) for day in days]
        reference = version.reference
        week = added(counts[:WEEK], version.labels)
        confidence = _Beside(reference["confidence"], week.confidence)
        tokens = _Beside(reference["tokens"]["counts"], week.tokens)
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
            confidence=confidence.picture("confidence"),
            confidence_bins=confidence.table(_CONFIDENCE_NAMES),
            tokens=tokens.picture("number of tokens"),
            token_bins=tokens.table(_TOKEN_NAMES),
            has_tokens=reader is not None,
            shifted=SHIFTED,
            back=back,
            newer=max(back - DAYS, 0),
            older=back + DAYS,
        )

    def _counts(
        self, version: Version, purged: int, day: date, reader: CountTokens | None
    ) -> DayCounts:
        key = (f"{version} {reader is not None}", purged, day)
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
        key = (str(version), *(str(hashes[name]) for name in _READING))
        # Whoever wants it meanwhile waits: two would load it twice.
        with self._reading:
            reader = self._readers.get(key) or self._loaded(version, version.merged, hashes)
            if reader is None:
                return None
            self._readers[key] = reader
            self._readers.move_to_end(key)
            while len(self._readers) > _KEPT_READERS:
                self._readers.popitem(last=False)
        return reader

    def _loaded(
        self, version: Version, merged: str, hashes: Mapping[str, str]
    ) -> CountTokens | None:
        from worker.encoder import TokenizerEncoder

        try:
            folder = self._site.artifacts.verified(
                merged, {name: hashes[name] for name in _READING}
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
        shift(
            [reference["labels"].get(label, 0) for label in version.labels],
            [found.labels.get(label, 0) for label in version.labels],
        ),
        shift(reference["confidence"], found.confidence),
        shift(reference["tokens"]["counts"], found.tokens),
    )


@dataclass(frozen=True)
class _Beside:
    """Counts of the reference and of this week, in the same bins."""

    reference: Sequence[float]
    now: Sequence[float]

    @property
    def shares(self) -> tuple[list[float], list[float]]:
        """Of the reference, and of this week."""
        was, now = (
            [count / (sum(counts) or 1) for count in counts]
            for counts in (self.reference, self.now)
        )
        return was, now

    def picture(self, what: str) -> str:
        was, now = self.shares
        told = shift(self.reference, self.now).words
        return drawing.columns(now, f"Rows of this week by {what}; {told}", beside=was)

    def table(self, names: Sequence[str]) -> list[tuple[str, float, float]]:
        """Return the name and both shares of each bin."""
        return list(zip(names, *self.shares, strict=True))
