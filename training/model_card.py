"""The model card: what labelstream.json holds, as a page that people read."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

#: Labels with an F1 below this are named among the limits.
WEAK_F1 = 0.85


def model_card(metadata: Mapping[str, Any]) -> str:
    """Write README.md, Markdown with YAML front matter, from the content of labelstream.json."""
    sections = [
        _front_matter(metadata),
        _introduction(metadata),
        _data(metadata),
        _training(metadata),
        *(
            _metrics(split.capitalize(), metadata["labels"], measured)
            for split, measured in metadata["metrics"].items()
            if measured
        ),
        _limits(metadata),
    ]
    return "\n\n".join(sections) + "\n"


def _front_matter(metadata: Mapping[str, Any]) -> str:
    lines = {
        "base_model": metadata["base"],
        "language": metadata["language"],
        "library_name": "peft",
        "license": "other",
        "license_name": metadata["license"],
        "pipeline_tag": "text-classification",
    }
    # A JSON string is a YAML string, whatever it holds.
    fields = [f"{key}: {json.dumps(value, ensure_ascii=False)}" for key, value in lines.items()]
    return "\n".join(["---", *fields, "tags: [lora, text-classification]", "---"])


def _introduction(metadata: Mapping[str, Any]) -> str:
    return (
        f"# {metadata['model']}\n\n"
        f"A LoRA adapter that sorts text into {len(metadata['labels'])} labels: "
        f"{', '.join(metadata['labels'])}. Base: `{metadata['base']}`"
        + (f" at commit `{metadata['base_revision']}`" if metadata["base_revision"] else "")
        + f". Made {metadata['made_at']} by Labelstream's `training fit`.\n\n"
        f"**Terms: {metadata['license']}.**"
    )


def _data(metadata: Mapping[str, Any]) -> str:
    data = metadata["data"]
    rows = ", ".join(f"{name} {count:,}" for name, count in data["rows"].items())
    counts = ", ".join(f"{label} {count:,}" for label, count in data["train_labels"].items())
    notes = "".join(f"\n- {note}" for note in data["notes"])
    return (
        f"## Data\n\n"
        f"- {data['name']}. Rows: {rows}.\n"
        f"- Labels of the training rows: {counts}.\n"
        f"- Terms: {metadata['license']}.\n"
        f"- Fingerprint (SHA-256 of labels and sorted rows): `{data['fingerprint']}`."
        f"{notes}"
    )


def _training(metadata: Mapping[str, Any]) -> str:
    numbers = {
        **metadata["hyper_parameters"],
        "max_length": metadata["max_length"],
        "seed": metadata["seed"],
    }
    parameters = _table(
        ("hyper-parameter", "value"),
        ((key, _plain(value)) for key, value in numbers.items()),
    )
    epochs = _table(
        ("epoch", "training loss", "validation accuracy", "validation macro-F1", ""),
        (
            (
                str(epoch["epoch"]),
                f"{epoch['loss']:.4f}",
                f"{epoch['validation_accuracy']:.4f}",
                f"{epoch['validation_macro_f1']:.4f}",
                "chosen" if epoch["epoch"] == metadata["epoch"] else "",
            )
            for epoch in metadata["epochs"]
        ),
    )
    libraries = ", ".join(f"{name} {number}" for name, number in metadata["libraries"].items())
    looked = "; the test split was looked at once, after the choice" * bool(
        metadata["metrics"]["test"]
    )
    return (
        f"## Training\n\n{parameters}\n\n"
        f"The epoch is chosen by {metadata['chosen_by']}{looked}.\n\n{epochs}\n\n"
        f"{metadata['seconds'] / 60:.0f} minutes on {metadata['device']} "
        f"with {metadata['threads']} threads; {libraries}."
    )


def _metrics(title: str, labels: Sequence[str], measured: Mapping[str, Any]) -> str:
    classes = _table(
        ("label", "precision", "recall", "F1", "rows"),
        (
            (
                label,
                *(f"{one[figure]:.4f}" for figure in ("precision", "recall", "f1")),
                str(one["support"]),
            )
            for label, one in measured["per_class"].items()
        ),
    )
    confusion = _table(
        ("true \\ predicted", *labels),
        ((label, *map(str, row)) for label, row in zip(labels, measured["confusion"], strict=True)),
    )
    return (
        f"## {title}\n\n"
        f"{measured['rows']:,} rows: accuracy {measured['accuracy']:.4f}, "
        f"macro-F1 {measured['macro_f1']:.4f}{_calibration(measured)}.\n\n{classes}\n\n{confusion}"
    )


def _calibration(measured: Mapping[str, Any]) -> str:
    if "ece_calibrated" not in measured:
        return ""
    return (
        f", log loss {measured['log_loss_calibrated']:.4f} ({measured['log_loss']:.4f} without "
        f"temperature), expected calibration error {measured['ece_calibrated']:.4f} "
        f"({measured['ece']:.4f} without)"
    )


def _confidence(measured: Mapping[str, Any]) -> str:
    if "ece_calibrated" not in measured:
        return "The confidence is the model's softmax, not a calibrated probability."
    return (
        f"The confidence is the softmax of the logits divided by {measured['temperature']:.3f}, "
        "fitted on validation: a probability for texts like these, and for no others."
    )


def _limits(metadata: Mapping[str, Any]) -> str:
    measured = metadata["metrics"]["test"] or metadata["metrics"]["validation"]
    # The binomial standard error of a share.
    error = (measured["accuracy"] * (1 - measured["accuracy"]) / measured["rows"]) ** 0.5
    weak = [
        f"{label} (F1 {one['f1']:.3f})"
        for label, one in measured["per_class"].items()
        if one["f1"] < WEAK_F1
    ]
    limits = [
        "Every text gets one of the labels above, also a text that fits none of them.",
        f"Texts are cut to {metadata['max_length']} tokens.",
        f"The standard error of the accuracy is {error:.3f}.",
        "Data from elsewhere, in another style or language, will be labelled less well.",
        _confidence(measured),
    ]
    if weak:
        limits.insert(1, f"Weakest labels: {', '.join(weak)}.")
    return "## Limits\n\n" + "\n".join(f"- {limit}" for limit in limits)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _plain(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)
