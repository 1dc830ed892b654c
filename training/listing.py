"""What `training versions` and `training show` tell of the registry."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from db.errors import RegistryError, one_line
from db.registry.aliases import list_aliases
from db.registry.artifacts import ArtifactStore
from db.registry.builds import Build, BuildKey, list_builds
from db.registry.events import Event, last_refusals, list_events
from db.registry.versions import Version, list_versions
from db.store import Store
from training.report import REPORT_FILE
from training.tables import aligned
from worker.base_checks import base_damage

#: What stands where a version says nothing.
NOT_STATED = "not stated"


def version_records(store: Store, model: str | None = None) -> list[dict[str, Any]]:
    """Return one JSON-ready object a version, by name and number.

    Keys: model, version, aliases, state, split, accuracy, macro_f1, base, license, refused. The
    figures are of the test split, else of validation, else null; `split` names which. `refused`
    is why a worker refused to load the version, the last time one did.
    """
    aliases = list_aliases(store)
    refusals = last_refusals(store)
    return [_record(version, aliases, refusals) for version in list_versions(store, model)]


def version_detail(store: Store, version: Version, artifacts: ArtifactStore) -> dict[str, Any]:
    """Return all that is known of one version as a JSON-ready object."""
    builds = list_builds(store, version)
    return {
        **_record(version, list_aliases(store), last_refusals(store)),
        "parent_version": version.parent_version,
        "damage": damage(version, artifacts, builds),
        "base_revision": version.base_revision,
        "base_sha256": dict(version.base_sha256),
        "labels": list(version.labels),
        "multi_label": version.multi_label,
        "max_length": version.max_length,
        "temperature": dict(version.temperature),
        "unsure_below": version.unsure_below,
        "language": version.language,
        "data": version.data,
        "data_fingerprint": version.data_fingerprint,
        "metrics": dict(version.metrics),
        "libraries": dict(version.libraries),
        "adapter": artifacts.where(version.adapter),
        "adapter_sha256": dict(version.adapter_sha256),
        "model_card": _page(version, artifacts, "README.md"),
        "report": _page(version, artifacts, REPORT_FILE),
        "merged": artifacts.where(version.merged) if version.merged else None,
        "builds": [
            {
                **asdict(key),
                "agreement": build.agreement,
                "accuracy": build.accuracy,
                "files": artifacts.where(build.location),
            }
            for key, build in builds
        ],
        "events": [
            {**asdict(event), "at": event.at.isoformat(timespec="seconds")}
            for event in list_events(store, version.model, version.version)
        ],
    }


def damage(
    version: Version, artifacts: ArtifactStore, builds: Sequence[tuple[BuildKey, Build]]
) -> list[str]:
    """Return what is wrong with the files of `version`, a line a folder; empty if they are whole."""
    found = []
    for kind, location, hashes in (
        ("adapter", version.adapter, version.adapter_sha256),
        ("merged model", version.merged, version.merged_sha256),
        *((f"build for {key.engine}", build.location, build.sha256) for key, build in builds),
    ):
        if location is None or hashes is None or version.state != "ready":
            continue
        try:
            artifacts.check(location, hashes)
        except RegistryError as error:
            found.append(f"{kind}: {one_line(error)}")
    if version.state == "ready" and (wrong := base_damage(version)):
        found.append(f"base: {wrong}")
    return found


def version_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return version records as the lines of a table for people."""
    header = ("version", "aliases", "state", "split", "accuracy", "macro-F1", "base", "terms")
    rows = [header, *(_cells(record) for record in records)]
    lines = aligned(rows)
    lines += [
        f"{record['model']}:{record['version']} was refused: {record['refused']}"
        for record in records
        if record["refused"]
    ]
    return lines


def detail_lines(detail: dict[str, Any]) -> list[str]:
    """Return a version's detail as lines for people, figures per label at the end."""
    revision = f" at {detail['base_revision']}" if detail["base_revision"] else ""
    lines = [
        f"{detail['model']}:{detail['version']} ({detail['state']})",
        f"aliases: {', '.join(detail['aliases']) or 'none'}",
        f"base: {detail['base']}{revision}",
        f"labels: {', '.join(detail['labels'])}",
        f"max_length: {detail['max_length']} tokens",
        f"language: {detail['language'] or NOT_STATED}",
        f"data: {detail['data'] or NOT_STATED}",
        f"data fingerprint: {detail['data_fingerprint'] or NOT_STATED}",
        f"terms: {detail['license'] or NOT_STATED}",
        f"parent: {_parent(detail)}",
        f"temperature: {_temperatures(detail)}",
        f"unsure below: {_plain(detail['unsure_below'])}",
        f"files: {detail['adapter']}",
    ]
    if detail["model_card"]:
        lines.append(f"model card: {detail['model_card']}")
    if detail["report"]:
        lines.append(f"report: {detail['report']}")
    lines += [
        f"build: {build['engine']} {build['engine_version']} on {build['cpu_features']}, "
        f"{build['agreement']:.2%} of labels as fp32"
        for build in detail["builds"]
    ]
    lines += [f"damaged: {line}" for line in detail["damage"]]
    for split, measured in detail["metrics"].items():
        if not measured:
            continue
        lines.append(
            f"{split}: {measured['rows']:,} rows, accuracy {measured['accuracy']:.4f}, "
            f"macro-F1 {measured['macro_f1']:.4f}"
        )
        lines += [
            f"  {label}: precision {one['precision']:.4f}, recall {one['recall']:.4f}, "
            f"F1 {one['f1']:.4f}, {one['support']:,} rows"
            for label, one in measured["per_class"].items()
        ]
    lines += [_event_line(event) for event in detail["events"]]
    return lines


def _page(version: Version, artifacts: ArtifactStore, name: str) -> str | None:
    return f"{artifacts.where(version.adapter)}/{name}" if name in version.adapter_sha256 else None


def _event_line(event: dict[str, Any]) -> str:
    moved = f" {event['alias']}" if event["alias"] else ""
    came = f" (was {event['from_version']})" if event["from_version"] else ""
    why = f": {event['why']}" if event["why"] else ""
    return f"{event['at']} {event['event']}{moved}{came} by {event['who']}{why}"


def _parent(detail: dict[str, Any]) -> str:
    parent = detail["parent_version"]
    return NOT_STATED if parent is None else f"{detail['model']}:{parent}"


def _temperatures(detail: dict[str, Any]) -> str:
    each = (f"{engine} {value:.4f}" for engine, value in detail["temperature"].items())
    return ", ".join(each) or "1 (not calibrated)"


def _plain(value: object) -> str:
    return NOT_STATED if value is None else str(value)


def _record(
    version: Version,
    aliases: dict[tuple[str, str], int],
    refusals: dict[tuple[str, int], Event],
) -> dict[str, Any]:
    split = next((name for name in ("test", "validation") if version.metrics.get(name)), None)
    measured = version.metrics[split] if split else {}
    refusal = refusals.get((version.model, version.version))
    return {
        "model": version.model,
        "version": version.version,
        "aliases": sorted(
            alias
            for (model, alias), number in aliases.items()
            if (model, number) == (version.model, version.version)
        ),
        "state": version.state,
        "split": split,
        "accuracy": measured.get("accuracy"),
        "macro_f1": measured.get("macro_f1"),
        "base": version.base,
        "license": version.license,
        "refused": refusal.why if refusal else None,
    }


def _cells(record: dict[str, Any]) -> tuple[str, ...]:
    figures = (record["accuracy"], record["macro_f1"])
    return (
        f"{record['model']}:{record['version']}",
        ",".join(record["aliases"]) or "-",
        record["state"],
        record["split"] or "-",
        *("-" if figure is None else f"{figure:.4f}" for figure in figures),
        record["base"],
        record["license"] or NOT_STATED,
    )
