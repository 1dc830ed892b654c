"""A consumer group of a Redis stream: what Redis is asked for, and which of its errors mean what."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from redis import Redis
from redis.backoff import NoBackoff
from redis.exceptions import (
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    ResponseError,
    TryAgainError,
)
from redis.exceptions import ConnectionError as RedisConnectionError
from redis.exceptions import TimeoutError as RedisTimeoutError
from redis.retry import Retry

from producer.redis_address import RedisAddress

#: Seconds for a connection to be made, and for an answer beyond what it may wait for entries.
_ANSWER_SECONDS = 10.0

#: Errors of a server that is away, begins, changes its master, or cannot write now.
AWAY = (
    RedisConnectionError,
    RedisTimeoutError,
    BusyLoadingError,
    ClusterDownError,
    OutOfMemoryError,
    ReadOnlyError,
    TryAgainError,
    OSError,
)

#: How the words of an error begin that says the like, without a class of its own.
_AWAY_WORDS = ("MISCONF", "BUSY ", "NOREPLICAS", "LOADING")

#: What reading says where the group, or the whole stream, is gone.
_GONE_WORDS = ("NOGROUP", "UNBLOCKED", "no such key")

#: Entries of one consumer become those of another: at most so many, and about so many bytes. One
#: step, so that no two heirs are given the same entry. An entry that is no more in the stream has no
#: fields.
_CLAIM = """
local key, group, from, to = KEYS[1], ARGV[1], ARGV[2], ARGV[3]
local taken, size = {}, 0
for _, held in ipairs(redis.call('XPENDING', key, group, '-', '+', ARGV[4], from)) do
  local id = held[1]
  redis.call('XCLAIM', key, group, to, 0, id, 'JUSTID')
  local found = redis.call('XRANGE', key, id, id)[1] or {id, {}}
  taken[#taken + 1] = found
  for _, value in ipairs(found[2]) do size = size + #value end
  if size >= tonumber(ARGV[5]) then break end
end
return taken
"""

#: A consumer is deleted only if it holds nothing, in one step: what it holds would go with it.
_DELETE = """
if #redis.call('XPENDING', KEYS[1], ARGV[1], '-', '+', 1, ARGV[2]) == 0 then
  redis.call('XGROUP', 'DELCONSUMER', KEYS[1], ARGV[1], ARGV[2])
  return 1
end
return 0
"""


@dataclass(frozen=True, slots=True)
class Delivered:
    """An entry as Redis delivers it; without fields it is no more in the stream."""

    id: str
    fields: Mapping[bytes, bytes]

    @property
    def size(self) -> int:
        """Bytes of its fields, names among them."""
        return sum(len(name) + len(value) for name, value in self.fields.items())


class StreamGroup:
    """One connection to a group; every method raises redis' errors as they come.

    No command is sent twice by itself: a read whose answer was lost has been delivered.
    """

    def __init__(self, address: RedisAddress) -> None:
        self.address = address
        self._client = Redis.from_url(
            address.url,
            protocol=2,
            retry=Retry(NoBackoff(), 0),
            socket_connect_timeout=_ANSWER_SECONDS,
            socket_timeout=_ANSWER_SECONDS,
            **({} if address.url.startswith("unix:") else {"socket_keepalive": True}),
        )

    def make(self) -> bool:
        """Make the group, and the stream, if they are not there; return whether it was made.

        A new group begins with the stream's first entry.
        """
        address = self.address
        try:
            self._client.xgroup_create(address.stream, address.group, id="0", mkstream=True)
        except ResponseError as error:
            if "BUSYGROUP" not in str(error):
                raise
            return False
        return True

    def join(self, consumer: str) -> None:
        """Let the group show `consumer`, which it otherwise does once that holds entries."""
        address = self.address
        self._client.xgroup_createconsumer(address.stream, address.group, consumer)

    def read(self, consumer: str, after: str, count: int, seconds: float) -> list[Delivered]:
        """Deliver to `consumer` at most `count` entries, waiting at most `seconds` for the first.

        `after` is ">" for entries that were delivered to nobody, else an id: what this consumer
        was given after it and has not acknowledged.
        """
        address = self.address
        answer: Any = self._client.xreadgroup(
            address.group,
            consumer,
            {address.stream: after},
            count=count,
            # To Redis 0 means for ever.
            block=max(round(seconds * 1000), 1),
        )
        return [_delivered(one) for _, entries in answer for one in entries]

    def claim(self, dead: str, consumer: str, count: int, size: int) -> list[Delivered]:
        """Take over from `dead` at most `count` entries that it holds, of about `size` bytes."""
        address = self.address
        answer: Any = self._client.eval(
            _CLAIM, 1, address.stream, address.group, dead, consumer, count, size
        )
        return [_delivered((id_, _pairs(flat))) for id_, flat in answer]

    def acknowledge(self, ids: Sequence[str]) -> None:
        """Tell that entries need not be delivered again."""
        self._client.xack(self.address.stream, self.address.group, *ids)

    def consumers(self) -> list[str]:
        """Return the names of all consumers of the group."""
        address = self.address
        answer: Any = self._client.xinfo_consumers(address.stream, address.group)
        return [_text(consumer["name"]) for consumer in answer]

    def delete(self, consumer: str) -> bool:
        """Delete a consumer unless it holds entries; return whether it is gone."""
        address = self.address
        return bool(self._client.eval(_DELETE, 1, address.stream, address.group, consumer))

    def close(self) -> None:
        """Close the connection."""
        self._client.close()


def is_away(error: Exception) -> bool:
    """Whether the same command may succeed a little later."""
    if isinstance(error, AWAY):
        return True
    return isinstance(error, ResponseError) and str(error).startswith(_AWAY_WORDS)


def is_gone(error: Exception) -> bool:
    """Whether the group is not there any more."""
    # A script's error has other words before these.
    return isinstance(error, ResponseError) and any(word in str(error) for word in _GONE_WORDS)


def _delivered(entry: tuple[bytes, Mapping[bytes, bytes]]) -> Delivered:
    return Delivered(_text(entry[0]), entry[1])


def _pairs(flat: Sequence[bytes]) -> dict[bytes, bytes]:
    return dict(zip(flat[::2], flat[1::2], strict=True))


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
