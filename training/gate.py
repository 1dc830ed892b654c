"""The gate: whether a candidate takes the place of the version in production."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from db.errors import RegistryError
from db.registry.aliases import promote
from training.comparison import Comparison

if TYPE_CHECKING:
    from db.registry.versions import Version
    from db.store import Store
    from training.measuring import Measured

#: Below this McNemar's test says that one of two versions is really worse.
SIGNIFICANT = 0.05

#: How much of its F1 any label may lose.
MOST_F1_LOST = 0.03

#: Below this a difference of two figures is one of how floats were rounded.
_NO_DIFFERENCE = 1e-9


@dataclass(frozen=True, slots=True)
class Decision:
    """Whether a candidate was promoted, and why or why not, as a clause."""

    promoted: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Gate:
    """What is asked of a candidate."""

    #: Let another set of labels pass, which cannot be compared.
    allow_label_change: bool = False

    def pass_through(
        self,
        store: Store,
        candidate: Version,
        champion: Version | None,
        measured: Measured,
        *,
        who: str,
    ) -> Decision:
        """Promote `candidate` in place of `champion` if `decide` says so, with the reason.

        If another version was promoted meanwhile, the candidate is not: it was compared with one
        that serves no more.
        """
        decision = self.decide(candidate, champion, measured)
        if not decision.promoted:
            return decision
        try:
            promote(
                store,
                candidate.model,
                candidate.version,
                who=who,
                why=decision.reason,
                instead_of=champion.version if champion else 0,
            )
        except RegistryError as error:
            return Decision(False, str(error))
        return decision

    def decide(self, candidate: Version, champion: Version | None, measured: Measured) -> Decision:
        """Say whether `candidate` should be promoted in place of `champion`."""
        if champion is None:
            return Decision(True, "no version was in production")
        if sorted(candidate.labels) != sorted(champion.labels):
            gone = ", ".join(sorted({*champion.labels} - {*candidate.labels})) or "none"
            new = ", ".join(sorted({*candidate.labels} - {*champion.labels})) or "none"
            change = f"its labels are not those of {champion} (new: {new}; gone: {gone})"
            if self.allow_label_change:
                return Decision(True, f"{change}, which was allowed; nothing could be compared")
            return Decision(False, f"{change}: give --allow-label-change if that is meant")
        if measured.comparison is None:
            return Decision(False, f"it was not compared: {measured.not_compared}")
        return better(measured.comparison)


def better(comparison: Comparison) -> Decision:
    """Promote what has a higher macro-F1, is not proven worse, and gives up no label.

    Each of the three is judged on the same rows of the same split.
    """
    before, after = comparison.before.metrics, comparison.after.metrics
    old, new = f"{before.macro_f1:.4f}", f"{after.macro_f1:.4f}"
    if after.macro_f1 - before.macro_f1 < _NO_DIFFERENCE:
        return Decision(
            False, f"its macro-F1 of {new} is not above the {old} of {comparison.champion}"
        )
    if comparison.only_before > comparison.only_after and comparison.p < SIGNIFICANT:
        return Decision(
            False,
            f"{comparison.champion} alone is right on {comparison.only_before} rows, the "
            f"candidate alone on {comparison.only_after} (McNemar's p {comparison.p:.4f})",
        )
    drops = {label: was - now for label, (was, now) in comparison.f1_changes.items()}
    label, drop = max(drops.items(), key=lambda item: item[1])
    if drop - MOST_F1_LOST > _NO_DIFFERENCE:
        was, now = comparison.f1_changes[label]
        return Decision(
            False,
            f"the F1 of {label!r} falls from {was:.4f} to {now:.4f}, by more than {MOST_F1_LOST}",
        )
    return Decision(
        True,
        f"macro-F1 {new} against {old} of {comparison.champion}, McNemar's p {comparison.p:.4f}, "
        f"no label's F1 falls by more than {MOST_F1_LOST}",
    )
