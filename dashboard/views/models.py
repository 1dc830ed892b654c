"""The pages of models: versions side by side, their reports, what serves, and what a change would flip."""

from typing import Any

from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, RedirectResponse, Response
from starlette.routing import Route

from dashboard.asking import is_part, whole, words
from dashboard.comparing import Asked, Comparisons
from dashboard.figures.job_list import list_jobs
from dashboard.forms import read_form
from dashboard.numbers import LARGEST_VERSION
from dashboard.site import Site
from db.errors import RegistryError, UsageError
from db.registry.aliases import list_aliases, promote, rollback, rollback_target
from db.registry.events import list_events
from db.registry.names import DEFAULT_ALIAS, ModelRef, check_model_name
from db.registry.versions import Version, find_version, list_versions, resolve
from db.store import Store
from training.listing import version_records
from training.report import REPORT_FILE

#: Versions that stand side by side: the newest, and what serves and what a rollback would go to.
SIDE_BY_SIDE = 6

#: Rows that a comparison looks at where no other number is given, and at most.
_SAMPLE_ROWS, _MOST_ROWS = 500, 10_000

#: A report is a page of its own: its style stands in it, and it may do nothing else.
_REPORT_POLICY = (
    "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox; frame-ancestors 'self'"
)


class ModelViews:
    """What versions there are, and which one serves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._comparisons = Comparisons(site.store, site.settings)

    def routes(self) -> list[Route]:
        """Return the addresses."""
        return [
            Route("/models", self.models),
            Route("/models/{model}", self.model),
            Route("/models/{model}/confirm", self.confirm),
            Route("/models/{model}/move", self.move, methods=["POST"]),
            Route("/models/{model}/compare", self.comparison, methods=["GET"]),
            Route("/models/{model}/compare", self.compare, methods=["POST"]),
            Route("/models/{model}/{version:number}", self.version),
            Route("/models/{model}/{version:number}/report", self.report),
        ]

    def models(self, request: Request) -> Response:
        """Show all versions of all models."""
        records = version_records(self._site.store)
        return self._site.page(request, "models.html", "Models", records=records[::-1])

    def model(self, request: Request) -> Response:
        """Show versions of a model side by side, and what moved them."""
        model = request.path_params["model"]
        versions = self._versions(model)
        store = self._site.store
        serving = list_aliases(store).get((model, DEFAULT_ALIAS))
        back = rollback_target(store, model)
        shown = shown_versions(versions, serving, back)
        return self._site.page(
            request,
            "model.html",
            f"Model {model}",
            model=model,
            versions=shown,
            others=len(versions) - len(shown),
            splits=[measured_on(version) for version in shown],
            figures=side_by_side(shown),
            aliases=_aliases(store, model),
            serving=serving,
            back=back,
            pair=pair_to_compare(shown, serving),
            jobs=[job for job in list_jobs(store, limit=20) if job.labeled],
            events=list_events(store, model)[::-1][:50],
            sample=_SAMPLE_ROWS,
        )

    def version(self, request: Request) -> Response:
        """Show one version: its confusions and its report."""
        version = self._version(request)
        split = measured_on(version)
        measured: dict[str, Any] = dict(version.metrics[split]) if split else {}
        return self._site.page(
            request,
            "version.html",
            f"Model {version}",
            version=version,
            split=split,
            measured=measured,
            confusion=measured.get("confusion"),
            has_report=REPORT_FILE in version.adapter_sha256,
            events=list_events(self._site.store, version.model, version.version)[::-1],
        )

    def report(self, request: Request) -> Response:
        """Give the page that was made with the version; it is checked before it is shown."""
        version = self._version(request)
        digest = version.adapter_sha256.get(REPORT_FILE)
        if digest is None or version.state != "ready":
            raise RegistryError(f"model {version} has no report")
        folder = self._site.artifacts.verified(version.adapter, {REPORT_FILE: digest})
        return HTMLResponse(
            (folder / REPORT_FILE).read_text(encoding="utf-8"),
            headers={"Content-Security-Policy": _REPORT_POLICY},
        )

    def confirm(self, request: Request) -> Response:
        """Ask whether another version is to serve, and for the reason."""
        model = request.path_params["model"]
        asked = request.query_params
        back = asked.get("back") == "1"
        store = self._site.store
        serving = list_aliases(store).get((model, DEFAULT_ALIAS))
        if back:
            target = rollback_target(store, model)
            if target is None:
                raise RegistryError(f"no usable version of {model} was promoted before {serving}")
        else:
            target = resolve(
                store, ModelRef(model, None, whole(asked, "version", 0, most=LARGEST_VERSION))
            ).version
        return self._site.page(
            request,
            "confirm.html",
            f"Let {model}:{target} serve?",
            model=model,
            target=target,
            serving=serving,
            back=back,
        )

    async def move(self, request: Request) -> Response:
        """Promote, or go back, with the reason that was given."""
        form = await read_form(request)
        return await run_in_threadpool(self._move, request, form)

    def _move(self, request: Request, form: dict[str, Any]) -> Response:
        self._check_may_change(request)
        model = request.path_params["model"]
        who, why = words(form, "who"), words(form, "why")
        if not who or not why:
            raise UsageError("say who you are and why: both stay with the change")
        store = self._site.store
        target = whole(form, "version", 0, 1, LARGEST_VERSION)
        serving = whole(form, "serving", 0, most=LARGEST_VERSION)
        if list_aliases(store).get((model, DEFAULT_ALIAS), 0) != serving:
            raise RegistryError(f"another version of {model} serves by now: look again")
        found = resolve(store, ModelRef(model, None, target))
        # What cannot be loaded is found out here, not by the workers.
        self._site.artifacts.check(found.adapter, found.adapter_sha256)
        if words(form, "back") == "1":
            rollback(store, model, who=who, why=why, instead_of=serving, to=target)
        elif not promote(store, model, target, who=who, why=why, instead_of=serving):
            raise RegistryError(f"{found} serves by now: look again")
        return RedirectResponse(f"/models/{model}", 303)

    async def compare(self, request: Request) -> Response:
        """Begin to compare two versions on rows of a job."""
        self._check_may_change(request)
        form = await read_form(request)
        asked = self._asked(request.path_params["model"], form)
        await run_in_threadpool(self._comparisons.begin, asked)
        address = (
            f"/models/{request.path_params['model']}/compare?before={whole(form, 'before', 0)}"
            f"&after={whole(form, 'after', 0)}&job={asked.job}&sample={asked.sample}"
        )
        return RedirectResponse(address, 303)

    def comparison(self, request: Request) -> Response:
        """Show what came of a comparison."""
        model = request.path_params["model"]
        asked = self._asked(model, request.query_params)
        made = self._comparisons.of(asked)
        if made is None:
            raise UsageError("nobody asked for this comparison: begin it from the model's page")
        return self._site.page(
            request,
            "parts/comparison.html" if is_part(request) else "comparison.html",
            f"{asked.before} beside {asked.after}",
            model=model,
            asked=asked,
            made=made,
            address=f"{request.url.path}?{request.url.query}",
        )

    def _asked(self, model: str, given: Any) -> Asked:
        # It becomes a part of a command line.
        check_model_name(model)
        before, after = (whole(given, name, 0, 1, LARGEST_VERSION) for name in ("before", "after"))
        if before == after:
            raise UsageError("choose two versions that differ")
        return Asked(
            f"{model}:{before}",
            f"{model}:{after}",
            whole(given, "job", 0, 1),
            min(whole(given, "sample", _SAMPLE_ROWS, 1), _MOST_ROWS),
        )

    def _check_may_change(self, request: Request) -> None:
        # Such a request does not come this far; should it ever, it ends here.
        if not self._site.access.may_change(request):
            raise HTTPException(403, "changes need the token: sign in first")

    def _versions(self, model: str) -> list[Version]:
        check_model_name(model)
        versions = list_versions(self._site.store, model)
        if not versions:
            raise RegistryError(f"there is no model {model[:60]!r}")
        return versions

    def _version(self, request: Request) -> Version:
        given = request.path_params
        check_model_name(given["model"])
        return find_version(self._site.store, ModelRef(given["model"], None, given["version"]))


def shown_versions(versions: list[Version], serving: int | None, back: int | None) -> list[Version]:
    """Return the newest of a model's versions, what serves, and what a rollback would go to."""
    newest = {version.version for version in versions[-SIDE_BY_SIDE:]}
    return [version for version in versions if version.version in newest | {serving, back}]


def pair_to_compare(versions: list[Version], serving: int | None) -> tuple[int, int] | None:
    """Return the two versions that a comparison begins with: what serves, and the newest other.

    None if there are not two whose files are there.
    """
    ready = [version.version for version in versions if version.state == "ready"]
    if len(ready) < 2:
        return None
    before = serving if serving in ready else ready[-2]
    assert before is not None, "none of them has no number"  # noqa: S101
    return before, next(number for number in reversed(ready) if number != before)


def measured_on(version: Version) -> str | None:
    """Return the split whose figures are shown: test, else validation; None if there are none."""
    return next((name for name in ("test", "validation") if version.metrics.get(name)), None)


def side_by_side(versions: list[Version]) -> list[tuple[str, list[float | None]]]:
    """Return the figures of versions, a row a figure: its name, and one number a version."""
    measured = [version.metrics.get(measured_on(version) or "") or {} for version in versions]
    names = {
        "accuracy": "accuracy",
        "macro_f1": "macro-F1",
        "log_loss_calibrated": "log loss",
        "ece_calibrated": "calibration error",
    }
    rows = [(name, [one.get(key) for one in measured]) for key, name in names.items()]
    labels = dict.fromkeys(label for one in measured for label in one.get("per_class", {}))
    rows += [
        (f"F1 {label}", [one.get("per_class", {}).get(label, {}).get("f1") for one in measured])
        for label in labels
    ]
    return rows


def _aliases(store: Store, model: str) -> dict[int, list[str]]:
    named: dict[int, list[str]] = {}
    for (of, alias), version in sorted(list_aliases(store).items()):
        if of == model:
            named.setdefault(version, []).append(alias)
    return named
