"""A candidate and the version in production, side by side on the same labelled texts."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from training.evaluation import Evaluation, evaluate, registered

if TYPE_CHECKING:
    from db.settings import Settings
    from training.data import LabelledData


@dataclass(frozen=True)
class Comparison:
    """What a candidate and a champion said of the same rows."""

    #: The champion's name, such as emotion:1.
    champion: str
    #: The champion's and the candidate's, on the same split.
    before: Evaluation
    after: Evaluation

    @property
    def only_before(self) -> int:
        """Rows that the champion alone has right."""
        return int((self.before.right & ~self.after.right).sum())

    @property
    def only_after(self) -> int:
        """Rows that the candidate alone has right."""
        return int((self.after.right & ~self.before.right).sum())

    @property
    def p(self) -> float:
        """McNemar's p: how likely so uneven a split is if both are equally good."""
        return mcnemar(self.only_before, self.only_after)

    @property
    def f1_changes(self) -> dict[str, tuple[float, float]]:
        """The F1 of each label, the champion's and the candidate's, in the candidate's order."""
        old = {one.label: one.f1 for one in self.before.metrics.per_class}
        return {one.label: (old[one.label], one.f1) for one in self.after.metrics.per_class}


def compare_with(
    champion: str, after: Evaluation, data: LabelledData, settings: Settings
) -> Comparison:
    """Evaluate the registered version `champion` on the split that `after` was measured on.

    By the same engine: what 8 bits change is neither's merit.
    Raises `LabelstreamError` if it cannot be loaded, or knows other labels.
    """
    same_engine = settings.model_copy(update={"engine": after.engine})
    with registered(champion, same_engine) as classifier:
        before = evaluate(classifier, data, after.split)
    return Comparison(champion, before, after)


def mcnemar(one: int, other: int) -> float:
    """Return the exact two-sided p of McNemar's test (1947) for two counts of discordant rows.

    If either is as likely, the smaller count is binomial(n, 1/2); computed in whole numbers.
    """
    rows = one + other
    tail = ways = 1
    for count in range(min(one, other)):
        ways = ways * (rows - count) // (count + 1)
        tail += ways
    return min(1.0, float(Fraction(2 * tail, 2**rows)))


def comparison_record(comparison: Comparison) -> dict[str, Any]:
    """Return a comparison as JSON holds it."""
    return {
        "with": comparison.champion,
        "split": comparison.after.split,
        "accuracy": [comparison.before.metrics.accuracy, comparison.after.metrics.accuracy],
        "macro_f1": [comparison.before.metrics.macro_f1, comparison.after.metrics.macro_f1],
        "f1": {label: list(pair) for label, pair in comparison.f1_changes.items()},
        "only_right_before": comparison.only_before,
        "only_right_after": comparison.only_after,
        "mcnemar_p": comparison.p,
    }


def comparison_rows(comparison: Comparison) -> list[tuple[str, str, str, str]]:
    """Return the table for people: figure, champion, candidate, change."""
    before, after = comparison.before, comparison.after
    pairs = {
        "accuracy": (before.metrics.accuracy, after.metrics.accuracy),
        "macro-F1": (before.metrics.macro_f1, after.metrics.macro_f1),
        "log loss": (before.log_loss_calibrated, after.log_loss_calibrated),
        "calibration error": (before.ece_calibrated, after.ece_calibrated),
        **{f"F1 {label}": pair for label, pair in comparison.f1_changes.items()},
    }
    return [
        (after.split, comparison.champion, "candidate", "change"),
        *(
            (name, f"{old:.4f}", f"{new:.4f}", f"{new - old:+.4f}")
            for name, (old, new) in pairs.items()
        ),
        ("only right there", str(comparison.only_before), str(comparison.only_after), ""),
        ("McNemar's p", "", f"{comparison.p:.4f}", ""),
    ]
