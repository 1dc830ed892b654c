"""Connections to PostgreSQL on which no wait is without end, and none that has a reason is cut."""

import time
from collections.abc import Callable, Generator
from contextlib import suppress
from typing import Any

import psycopg
from sqlalchemy import URL, Engine, event
from sqlalchemy.exc import InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

#: Seconds for a connection to be made.
CONNECT_SECONDS = 5

#: Seconds without a byte from the server after which it is asked, over a connection of its own,
#: whether it still answers; the silences double up to the longest. A statement may be silent for
#: as long as it needs (an export, an index) while the server answers others.
QUIET_SECONDS = 5.0
LONGEST_QUIET_SECONDS = 60.0

#: What the network must show: a connection without traffic is probed after `idle` seconds, `count`
#: times; bytes that were sent are acknowledged within the timeout (milliseconds). A server that was
#: frozen acknowledges all the same, hence the question above.
_CLIENT_KEEPALIVES = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}

#: Seconds without use after which a connection is tried before it is used, whoever uses it.
_REST_SECONDS = 1.0

_RESTS_SINCE = "labelstream_rests_since"

#: The same from the server's side, so that a machine that vanished in the middle of a transaction
#: does not keep its locks; no wait for a lock takes longer than its limit.
_SESSION = {
    "timezone": "UTC",
    "lock_timeout": "60s",
    "tcp_keepalives_idle": "30",
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


def connect_args(url: URL) -> dict[str, Any]:
    """Return what every connection is made with; what stands in `url` itself is left as it is."""
    session = " ".join(f"-c {name}={value}" for name, value in _SESSION.items())
    given = url.query.get("options")
    arguments = {
        "connect_timeout": CONNECT_SECONDS,
        "application_name": "labelstream",
        **_CLIENT_KEEPALIVES,
    }
    arguments = {name: value for name, value in arguments.items() if name not in url.query}
    # The last one counts where both name the same.
    arguments["options"] = f"{session} {given}" if isinstance(given, str) else session
    return arguments


def watch_connections(engine: Engine) -> None:
    """Let `engine` make connections whose waits end when the server answers nobody any more."""

    @event.listens_for(engine, "do_connect")
    def connect(_: Any, __: Any, arguments: list[Any], parameters: dict[str, Any]) -> Any:
        return WatchedConnection.connect(*arguments, **parameters)


def ping_first(engine: Engine, retries: Callable[[], bool]) -> None:
    """Let `engine` try a connection before it is used, and make a new one if need be.

    As SQLAlchemy's own way does, but not one that has just been used where `retries` says that the
    caller begins anew when it is lost: a chunk takes three, and each try is a way to the server.
    """

    @event.listens_for(engine, "checkin")
    def note(_: Any, record: ConnectionPoolEntry) -> None:
        record.info[_RESTS_SINCE] = time.monotonic()

    @event.listens_for(engine, "checkout")
    def ping(raw: Any, record: ConnectionPoolEntry, _: Any) -> None:
        # A new connection has not rested yet.
        since = record.info.pop(_RESTS_SINCE, None)
        if since is None or (retries() and time.monotonic() - since < _REST_SECONDS):
            return
        try:
            engine.dialect.do_ping(raw)
        except psycopg.Error:
            # Those that rested as long will be as dead.
            raise InvalidatePoolError from None


class WatchedConnection(psycopg.Connection[Any]):
    """A connection that breaks, rather than wait on, when its server has gone mute."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        """Consume `gen` as psycopg does; raises `OperationalError` when the server is mute."""
        return super().wait(_listening(gen, self._look_after), *args, **options)

    def _look_after(self, seconds: float) -> float:
        """Return how long the silence may become; breaks the connection if the server is mute."""
        if _answers(self.info.dsn, self.info.password):
            return min(2 * seconds, seconds + LONGEST_QUIET_SECONDS)
        # A connection that is closed here is taken for lost by everybody above.
        self.pgconn.finish()
        raise psycopg.OperationalError(
            f"the server takes connections and has not answered for {seconds:.0f} s"
        )


class _Probe(psycopg.Connection[Any]):
    """A connection that gives up at the first silence."""

    def wait(self, gen: Generator[Any, Any, Any], *args: Any, **options: Any) -> Any:
        return super().wait(_listening(gen, self._give_up), *args, **options)

    def _give_up(self, _: float) -> float:
        self.pgconn.finish()
        raise psycopg.errors.ConnectionTimeout("no answer")


def _answers(dsn: str, password: str) -> bool:
    """Whether the server answers a connection and a statement; any refusal is an answer."""
    try:
        with _Probe.connect(
            dsn, password=password or None, connect_timeout=CONNECT_SECONDS, autocommit=True
        ) as probe:
            probe.execute("SELECT 1")
    except psycopg.errors.ConnectionTimeout:
        return False
    except psycopg.Error:
        # Too many connections, a restart: it lives, and what happens to ours will be told.
        return True
    return True


def _listening(
    gen: Generator[Any, Any, Any], on_quiet: Callable[[float], float]
) -> Generator[Any, Any, Any]:
    """Pass `gen` on; after each silence that is long enough, `on_quiet` says how long the next is.

    psycopg wakes a generator every tenth of a second with nothing, and else with what is ready.
    """
    limit = QUIET_SECONDS
    heard = time.monotonic()
    try:
        state = next(gen)
        while True:
            ready = yield state
            if ready:
                heard, limit = time.monotonic(), QUIET_SECONDS
            elif time.monotonic() - heard > limit:
                limit = on_quiet(limit)
            state = gen.send(ready)
    except StopIteration as done:
        return done.value
    finally:
        with suppress(Exception):
            gen.close()
