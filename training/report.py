"""A version's page: one HTML file that shows what it is worth, and needs nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from training.charts import confusion_matrix, learning_curve, reliability_diagram
from training.comparison import comparison_rows
from training.evaluation import evaluation_record

if TYPE_CHECKING:
    from training.comparison import Comparison
    from training.evaluation import Evaluation
    from training.mistakes import Mistake

#: The page's name in an adapter's folder.
REPORT_FILE = "report.html"

TEMPLATES = Path(__file__).parent / "templates"


def report_page(
    name: str,
    about: Mapping[str, Any],
    evaluation: Evaluation,
    *,
    comparison: Comparison | None = None,
    not_compared: str | None = None,
    mistakes: Sequence[Mistake] | None = None,
) -> str:
    """Return the page of `name`, of which labelstream.json says `about`.

    `not_compared` says why there is no comparison, where there should be one. Without `mistakes`
    the page holds no text of any row.
    """
    from jinja2 import Environment, FileSystemLoader, StrictUndefined

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        # Texts, labels and names come from anywhere.
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    figures = {"split": evaluation.split, **evaluation_record(evaluation)}
    accuracy, rows = evaluation.metrics.accuracy, evaluation.metrics.rows
    epochs = about.get("epochs") or []
    page: str = environment.get_template(REPORT_FILE).render(
        name=name,
        about=about,
        figures=figures,
        # The binomial standard error of a share.
        accuracy_error=(accuracy * (1 - accuracy) / rows) ** 0.5,
        comparison=comparison_rows(comparison) if comparison else None,
        not_compared=not_compared,
        mistakes=mistakes,
        charts={
            "confusion": confusion_matrix(about["labels"], evaluation.metrics.confusion),
            "reliability": reliability_diagram(evaluation.bins, evaluation.bins_calibrated),
            "learning": learning_curve(epochs, about["epoch"]) if epochs else None,
        },
    )
    return page
