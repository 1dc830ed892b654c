"""People's labels for rows: an append-only log, and what of it counts."""

from db.corrections.by_text import TextCorrection, corrected_without_text, newest_by_text
from db.corrections.entering import add_corrections
from db.corrections.entries import STRATEGIES, Entered, NewCorrection, RefusedCorrection
from db.corrections.opinions import Opinion, opinion_of
from db.corrections.withdrawing import withdraw

__all__ = [
    "STRATEGIES",
    "Entered",
    "NewCorrection",
    "Opinion",
    "RefusedCorrection",
    "TextCorrection",
    "add_corrections",
    "corrected_without_text",
    "newest_by_text",
    "opinion_of",
    "withdraw",
]
