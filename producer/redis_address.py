"""The address of a Redis stream: which server, which stream, and which consumer group of it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from db.errors import UsageError, hide_password

#: Schemes of a stream's address: TCP, TLS, and a Unix socket.
SCHEMES = ("redis", "rediss", "unix")

#: What may stand in the query beside the stream and its group, by scheme; it is for the connection.
_CONNECTION = {
    "redis": (),
    "rediss": (
        "ssl_ca_certs",
        "ssl_cert_reqs",
        "ssl_certfile",
        "ssl_check_hostname",
        "ssl_keyfile",
    ),
    "unix": ("db",),
}

_PORT = 6379

_FORM = "write it like redis://host:6379/0?stream=NAME&group=NAME"


@dataclass(frozen=True)
class RedisAddress:
    """A consumer group of a stream. `str` of it is for people and the database: no credentials."""

    #: For the connection alone, with credentials.
    url: str = field(repr=False)
    #: The server and its database, such as `redis://host:6379/0`.
    server: str
    stream: str
    group: str

    @property
    def scope(self) -> str:
        """The stream alone: where its entries' ids are unique, whoever reads it."""
        mark = "&" if "?" in self.server else "?"
        return f"{self.server}{mark}stream={_shown(self.stream)}"

    def __str__(self) -> str:
        return f"{self.scope}&group={_shown(self.group)}"


def is_stream(spec: str) -> bool:
    """Whether `spec` has the scheme of a stream's address."""
    return "://" in spec and spec.split("://", 1)[0].lower() in SCHEMES


def parse_address(spec: str) -> RedisAddress:
    """Read the address of a stream.

    Raises `UsageError` for one without a stream or a group, or with what is not known.
    """
    try:
        parts = urlsplit(spec)
        port = parts.port
    except ValueError:
        raise _unusable(spec, "it is no URL") from None
    scheme = parts.scheme.lower()
    values = _query(spec, parts, scheme)
    stream, group = values.pop("stream"), values.pop("group")
    if parts.fragment:
        raise _unusable(spec, "a # must be written as %23")
    if scheme == "unix":
        path = unquote(parts.path)
        if not path:
            raise _unusable(spec, "it names no socket")
        database = _database(spec, values.pop("db", ""))
        values = {"db": str(database), **values}
        server = f"unix://{quote(path)}?db={database}"
    else:
        if not parts.hostname:
            raise _unusable(spec, "it names no host")
        database = _database(spec, parts.path.strip("/"))
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        server = f"{scheme}://{host}:{port or _PORT}/{database}"
    url = urlunsplit(parts._replace(query=urlencode(values), scheme=scheme))
    return RedisAddress(url, server, stream, group)


def _query(spec: str, parts: SplitResult, scheme: str) -> dict[str, str]:
    values: dict[str, str] = {}
    for name, value in parse_qsl(parts.query, keep_blank_values=True):
        if name not in ("stream", "group", *_CONNECTION[scheme]):
            known = ", ".join(("stream", "group", *_CONNECTION[scheme]))
            raise _unusable(spec, f"{name!r} is not known in it, but {known} are")
        if name in values:
            raise _unusable(spec, f"it names its {name} twice")
        values[name] = value
    _require(spec, values)
    return values


def _require(spec: str, values: Mapping[str, str]) -> None:
    for name, purpose in (
        ("stream", "which stream to read"),
        ("group", "which consumer group reads it (it is made if it is not there)"),
    ):
        if not values.get(name):
            raise _unusable(spec, f"it does not say {purpose}: {name}=NAME")
        if not values[name].isprintable():
            raise _unusable(spec, f"the name of its {name} is not printable")


def _database(spec: str, text: str) -> int:
    if not text:
        return 0
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise _unusable(spec, "its database is no number")
    return int(text)


def _unusable(spec: str, why: str) -> UsageError:
    return UsageError(f"{hide_password(spec)} cannot be read as a stream: {why}; {_FORM}")


def _shown(name: str) -> str:
    return quote(name, safe=":/.@,")
