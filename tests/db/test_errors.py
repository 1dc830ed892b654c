"""An error is one line for people, and never tells a password."""

import string

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from db.errors import hide_password, one_line

#: Signs that people put into passwords; those that end a URL's host are written as %XX.
PLAIN = string.ascii_letters + string.digits + "!$&'()*+,;=:@._~-%"
PASSWORDS = st.text(PLAIN, min_size=1, max_size=30).map(lambda text: f"pw{text}wp")
SCHEMES = st.sampled_from(["redis", "rediss", "postgresql+psycopg", "https", "s3"])


@settings(max_examples=200)
@given(SCHEMES, st.sampled_from(["", "me", "me.too"]), PASSWORDS)
@example("redis", "", "pw@@:@wp")
def test_a_password_in_a_url_is_hidden(scheme: str, user: str, password: str) -> None:
    shown = hide_password(f"{scheme}://{user}:{password}@db.example:6379/rows?a=b#c")
    assert shown == f"{scheme}://{user}:***@db.example:6379/rows?a=b#c"


@settings(max_examples=100)
@given(st.sampled_from(["redis", "postgresql"]), st.text(PLAIN + "/?#[]", max_size=20))
@example("postgresql", "/")
@example("redis", "[x")
def test_a_password_that_was_not_escaped_is_hidden_too(scheme: str, middle: str) -> None:
    password = f"pw{middle}wp"
    shown = hide_password(f"{scheme}://me:{password}@host/0")
    assert password not in shown
    assert "wp" not in shown
    assert shown.endswith("@host/0")


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "sslpassword",
        "token",
        "access_token",
        "X-Amz-Signature",
        "sig",
        "api_key",
        "SECRET",
    ],
)
def test_credentials_in_a_query_are_hidden(name: str) -> None:
    shown = hide_password(f"https://host/rows.csv?n=1&{name}=s3cret&last=2")
    assert shown == f"https://host/rows.csv?n=1&{name}=***&last=2"


@pytest.mark.parametrize(
    "source",
    [
        "rows.csv",
        "/data/a@b:c.csv",
        "-",
        "sqlite:////data/labels.db",
        "https://host:8080/a@2024.csv",
    ],
)
def test_what_holds_no_password_is_shown_as_it_is(source: str) -> None:
    assert hide_password(source) == source


@settings(max_examples=200)
@given(PASSWORDS, st.sampled_from(["", "could not connect to ", "two://urls and "]))
def test_an_error_of_a_driver_tells_no_password(password: str, before: str) -> None:
    line = one_line(ValueError(f"{before}redis://me:{password}@host:1/0 refused"))
    assert line == f"{before}redis://me:***@host:1/0 refused"


def test_an_error_is_one_line_and_what_the_driver_adds_is_left_out() -> None:
    error = ValueError("  value too long\nDETAIL: Failing row contains (i feel happy)\n")
    assert one_line(error) == "value too long"
    assert one_line(ValueError()) == "ValueError"
    assert one_line(KeyError("name")) == "'name'"
