"""What `training versions` and `training show` tell of the registry."""

from collections.abc import Sequence
from typing import Any

from db.registry.aliases import list_aliases
from db.registry.artifacts import ArtifactStore
from db.registry.versions import Version, list_versions
from db.store import Store

#: What stands where a version says nothing.
NOT_STATED = "not stated"


def version_records(store: Store, model: str | None = None) -> list[dict[str, Any]]:
    """Return one JSON-ready object a version, by name and number.

    Keys: model, version, aliases, state, split, accuracy, macro_f1, base, license. The figures
    are of the test split, else of validation, else null; `split` names which.
    """
    aliases = list_aliases(store)
    return [_record(version, aliases) for version in list_versions(store, model)]


def version_detail(store: Store, version: Version, artifacts: ArtifactStore) -> dict[str, Any]:
    """Return all that is known of one version as a JSON-ready object."""
    return {
        **_record(version, list_aliases(store)),
        "base_revision": version.base_revision,
        "base_sha256": dict(version.base_sha256),
        "labels": list(version.labels),
        "multi_label": version.multi_label,
        "max_length": version.max_length,
        "language": version.language,
        "data": version.data,
        "data_fingerprint": version.data_fingerprint,
        "metrics": dict(version.metrics),
        "libraries": dict(version.libraries),
        "adapter": artifacts.where(version.adapter),
        "adapter_sha256": dict(version.adapter_sha256),
        "merged": artifacts.where(version.merged) if version.merged else None,
    }


def version_lines(records: Sequence[dict[str, Any]]) -> list[str]:
    """Return version records as the lines of a table for people."""
    header = ("version", "aliases", "state", "split", "accuracy", "macro-F1", "base", "terms")
    rows = [header, *(_cells(record) for record in records)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(header))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]


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
        f"files: {detail['adapter']} (its README.md is the model card)",
    ]
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
    return lines


def _record(version: Version, aliases: dict[tuple[str, str], int]) -> dict[str, Any]:
    split = next((name for name in ("test", "validation") if version.metrics.get(name)), None)
    measured = version.metrics[split] if split else {}
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
