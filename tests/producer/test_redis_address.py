"""Addresses of Redis streams: what is read, what is shown, and what is refused in one line."""

import pytest

from db.errors import UsageError
from producer.redis_address import is_stream, parse_address

PASSWORD = "p4ssw0rd"


@pytest.mark.parametrize(
    ("spec", "shown"),
    [
        ("redis://host:1234/2?stream=s&group=g", "redis://host:1234/2?stream=s&group=g"),
        ("redis://HOST?stream=s&group=g", "redis://host:6379/0?stream=s&group=g"),
        ("REDIS://host/?group=g&stream=s", "redis://host:6379/0?stream=s&group=g"),
        (f"redis://:{PASSWORD}@host/1?stream=s&group=g", "redis://host:6379/1?stream=s&group=g"),
        (f"redis://me:{PASSWORD}@[::1]/?stream=s&group=g", "redis://[::1]:6379/0?stream=s&group=g"),
        ("redis://h/?stream=a%26b%20c&group=%C3%A9", "redis://h:6379/0?stream=a%26b%20c&group=%C3%A9"),
        ("redis://h/?stream=a:b/c&group=g", "redis://h:6379/0?stream=a:b/c&group=g"),
        ("rediss://h/?stream=s&group=g&ssl_cert_reqs=none", "rediss://h:6379/0?stream=s&group=g"),
        ("unix:///run/r.sock?db=3&stream=s&group=g", "unix:///run/r.sock?db=3&stream=s&group=g"),
        (f"unix://:{PASSWORD}@/r.sock?stream=s&group=g", "unix:///r.sock?db=0&stream=s&group=g"),
    ],
)  # fmt: skip
def test_one_address_has_one_form_without_credentials(spec: str, shown: str) -> None:
    address = parse_address(spec)
    assert str(address) == shown
    assert str(parse_address(shown)) == shown
    assert PASSWORD not in repr(address)
    assert address.scope == shown.removesuffix(f"&group={shown.split('group=')[1]}")
    assert (PASSWORD in address.url) is (PASSWORD in spec)
    assert "stream" not in address.url.split("?")[-1]


def test_names_are_read_as_they_were_meant() -> None:
    address = parse_address("redis://h/?stream=a%26b%20c+d&group=%C3%A9%20g")
    assert (address.stream, address.group) == ("a&b c d", "é g")


@pytest.mark.parametrize(
    ("spec", "says"),
    [
        ("redis://h", "does not say which stream to read: stream=NAME"),
        ("redis://h/0?stream=s", "does not say which consumer group reads it"),
        ("redis://h/0?group=g", "does not say which stream to read"),
        ("redis://h/0?stream=&group=g", "does not say which stream to read"),
        ("redis://h/0?stream=s&group=g&maxlen=5", "'maxlen' is not known in it"),
        ("redis://h/0?stream=s&group=g&ssl_cert_reqs=none", "'ssl_cert_reqs' is not known in it"),
        ("redis://h/0?stream=s&group=g&stream=t", "names its stream twice"),
        ("redis://h/zero?stream=s&group=g", "its database is no number"),
        ("redis://h/-1?stream=s&group=g", "its database is no number"),
        ("redis://h/1/2?stream=s&group=g", "its database is no number"),
        ("redis://h:port/0?stream=s&group=g", "it is no URL"),
        ("redis://h:99999/0?stream=s&group=g", "it is no URL"),
        ("redis://[h/0?stream=s&group=g", "it is no URL"),
        ("redis:///0?stream=s&group=g", "it names no host"),
        ("redis://h/0?stream=s&group=g#x", "a # must be written as %23"),
        ("redis://h/0?stream=s%00&group=g", "the name of its stream is not printable"),
        ("unix://?stream=s&group=g", "it names no socket"),
        ("unix:///r.sock?db=x&stream=s&group=g", "its database is no number"),
        (f"redis://:{PASSWORD}@h/0?stream=s", "which consumer group"),
        (f"redis://me:{PASSWORD}@h:x/0?stream=s", "it is no URL"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(spec: str, says: str) -> None:
    with pytest.raises(UsageError) as refused:
        parse_address(spec)
    said = str(refused.value)
    assert says in said
    assert len(said.splitlines()) == 1
    assert PASSWORD not in said
    assert said.endswith("write it like redis://host:6379/0?stream=NAME&group=NAME")


def test_only_the_scheme_makes_a_stream() -> None:
    assert is_stream("redis://")
    assert is_stream("Unix://x")
    assert not is_stream("redis.csv")
    assert not is_stream("https://redis/?stream=s")
