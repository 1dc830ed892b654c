"""What chaos does when: drawn from a seed, so that it can be done again."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: Seconds from one event to the next: at least and at most.
_GAP = (1.5, 5.0)

#: Seconds that a thing is left in peace after it was mended, times the clock.
_PEACE = 6.0


@dataclass(frozen=True)
class Kind:
    """One thing that can happen, and to whom."""

    name: str
    #: Who is struck: `worker`, `producer`, `redis`, `source` or `database`.
    whom: str
    #: Seconds until it is mended: at least and at most, times the clock.
    lasts: tuple[float, float]


KINDS = (
    Kind("killed", "worker", (1.0, 20.0)),
    # Up to more than twice the lease: some come back as if nothing had been, others as zombies.
    Kind("stopped", "worker", (2.0, 40.0)),
    Kind("terminated", "worker", (1.0, 20.0)),
    Kind("killed", "producer", (1.0, 10.0)),
    Kind("terminated", "producer", (1.0, 10.0)),
    Kind("interrupted", "producer", (1.0, 10.0)),
    Kind("restarted", "redis", (0.5, 8.0)),
    Kind("killed", "redis", (0.5, 8.0)),
    Kind("restarted empty", "redis", (0.5, 8.0)),
    Kind("emptied", "redis", (0.0, 0.0)),
    Kind("cut off", "redis", (2.0, 20.0)),
    # Connections stay, and nothing comes through: what was sent meanwhile arrives afterwards.
    Kind("mute", "redis", (2.0, 20.0)),
    Kind("killed", "source", (0.5, 8.0)),
    Kind("restarted", "database", (0.5, 8.0)),
    Kind("killed", "database", (0.5, 8.0)),
    Kind("cut off", "database", (2.0, 20.0)),
    Kind("mute", "database", (2.0, 20.0)),
    Kind("given another version", "database", (0.0, 0.0)),
)


@dataclass(frozen=True, order=True)
class Event:
    """Something that happens at a time, in seconds from the beginning."""

    at: float
    #: Which of those that it can happen to, such as `worker 2`.
    victim: str
    what: str
    #: When it is mended.
    until: float


def schedule(
    kinds: Sequence[Kind],
    victims: Mapping[str, Sequence[str]],
    *,
    seed: int,
    seconds: float,
    clock: float,
) -> list[Event]:
    """Draw the events of `seconds`; `victims` names who can be struck by what `kinds` say.

    Every kind comes once before any comes again. Nobody is struck while he is down, nor right after
    that, but several may be down at once.
    """
    pick = random.Random(seed)
    free_at = {victim: 0.0 for some in victims.values() for victim in some}
    events: list[Event] = []
    deck: list[Kind] = []
    at = 0.0
    while True:
        at += pick.uniform(*_GAP)
        if at >= seconds:
            return events
        if not deck:
            deck = list(kinds)
            pick.shuffle(deck)
        drawn = _first_possible(deck, victims, free_at, at)
        if drawn is None:
            continue
        deck.remove(drawn)
        victim = pick.choice([one for one in victims[drawn.whom] if free_at[one] <= at])
        until = at + pick.uniform(*drawn.lasts) * clock
        free_at[victim] = until + _PEACE * clock
        events.append(Event(at, victim, drawn.name, until))


def _first_possible(
    deck: Sequence[Kind],
    victims: Mapping[str, Sequence[str]],
    free_at: Mapping[str, float],
    at: float,
) -> Kind | None:
    for kind in deck:
        if any(free_at[victim] <= at for victim in victims[kind.whom]):
            return kind
    return None
