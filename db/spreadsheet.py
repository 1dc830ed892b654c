"""Cells that a spreadsheet would run: made plain text before they are written to CSV."""

import re

#: After OWASP's "CSV Injection": a cell that begins with = + - @, their full-width or small
#: forms, a tab, a carriage return or a line feed. Spreadsheets skip blanks and invisible
#: characters before the sign, so these are skipped here.
_FORMULA = re.compile(
    r"\A(?:[\t\r\n]|[\s\x00-\x1f\u200b-\u200f\u2060\ufeff]*[=+\-@＝＋－＠﹦﹢﹣﹫\u2212])"
)


def safe_cell(text: str) -> str:
    """Return `text`, with an apostrophe before it if a spreadsheet might take it for a formula.

    The rule looks at the first characters only, so `-5` gets one too; whoever reads the file by
    program and needs the text as it was takes JSONL or Parquet.
    """
    return f"'{text}" if _FORMULA.match(text) else text
