"""How what a page shows is compared with what came."""

import pytest

from tests.docs.matching import is_shown


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("3 rows", "3 rows\n"),
        ("job 1: …/tweets.csv", "job 1: /home/ana/tweets.csv\n"),
        ("joy  3", "joy      3\n"),
        ("…\n3 rows", "a warning\nand another\n3 rows\n"),
        ("3 rows\n…", "3 rows\n"),
        ("a (b) [c]", "a (b) [c]"),
    ],
)
def test_what_is_shown_came(shown: str, came: str) -> None:
    assert is_shown(shown, came)


@pytest.mark.parametrize(
    ("shown", "came"),
    [
        ("3 rows", "4 rows\n"),
        ("3 rows", "3 rows\nand one more\n"),
        ("3 rows\nand one more", "3 rows\n"),
        ("job 1: …/tweets.csv", "job 1:\n/tweets.csv\n"),
        ("…\n3 rows", "13 rows\n"),
        ("3 rows", ""),
    ],
)
def test_what_is_shown_did_not_come(shown: str, came: str) -> None:
    assert not is_shown(shown, came)
