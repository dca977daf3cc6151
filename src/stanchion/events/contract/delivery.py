"""How events reach their consumers: receipts, deliveries and their outcomes, dead letters, cause and effect."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from .event import Author, Event

Verdict = Literal["done", "retry", "dead"]


@dataclass(frozen=True, slots=True)
class Receipt:
    """The event is stored and survives a crash of the process. `scheduled`: it is kept until its moment.

    `position` is where it stands in the bus, for `follow`; empty while it is scheduled.
    """

    source: str
    id: str
    state: Literal["stored", "scheduled"]
    position: str = ""


@dataclass(frozen=True, slots=True)
class Delivery:
    """An event for one consumer to handle. `token` is the lease: it settles this delivery and no later one.

    `attempt` counts from 1. `key` orders it among others. `seconds` is how long the lease holds.
    """

    event: Event
    author: Author
    consumer: str
    token: str
    attempt: int
    key: str
    published: datetime
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a delivery: `done`, `retry` (after so many seconds, else by the consumer's backoff) or `dead`.

    `error` says why, and is kept with the event. `publish` are its consequences, stored with the outcome or not at all.
    """

    token: str
    verdict: Verdict
    after: float | None = None
    error: str = ""
    publish: tuple[Event, ...] = ()


@dataclass(frozen=True, slots=True)
class Settled:
    """How a delivery ended: as asked, or `stale`: the lease had passed to another, who decides."""

    token: str
    result: Literal["done", "retry", "dead", "stale"]


@dataclass(frozen=True, slots=True)
class Delivered:
    """An event as a follower sees it. Following `since=position` goes on behind it."""

    event: Event
    position: str
    published: datetime
    inner: bool = False


@dataclass(frozen=True, slots=True)
class ConsumerView:
    """A consumer as it does now.

    `behind` are events of the bus that it has not come to, `waiting` those put back for a retry, `dead` its dead
    letters, `running` those in its hands in the answering process, `concurrency` how many may be there at once.
    `holders` are the processes that work for it.
    """

    name: str
    types: tuple[str, ...]
    declared: bool
    paused: bool
    behind: int
    waiting: int
    dead: int
    running: int
    concurrency: int
    holders: int


@dataclass(frozen=True, slots=True)
class Failure:
    """One attempt that failed: when, and the error in one line."""

    at: datetime
    error: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """An event that a consumer gave up, with the error of every attempt. `id` names it to `redrive` and `discard`."""

    id: str
    consumer: str
    event: Event
    principal: str
    attempts: int
    error: str
    at: datetime
    history: tuple[Failure, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """Which events are meant: those that fit all that is given. `types` may be patterns; `ids` are of dead letters.

    `since` and `until` bound the moment of publication (of dead letters: the moment of giving up).
    """

    ids: tuple[str, ...] = ()
    types: tuple[str, ...] = ()
    source: str = ""
    subject: str = ""
    since: datetime | None = None
    until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Redriven:
    """How many events go to the consumer again; `more` tells that the call's limit left some where they are."""

    number: int
    more: bool


@dataclass(frozen=True, slots=True)
class Handling:
    """What one consumer made of an event. `seconds` is from publication to the end of its handling."""

    consumer: str
    state: Literal["done", "waiting", "dead"]
    attempts: int
    at: datetime
    seconds: float
    error: str = ""


@dataclass(frozen=True, slots=True)
class Hop:
    """An event in a tree of causes: `cause` is the id of the event that led to it, empty at the root.

    `handled` tells each consumer's part; an event of the tree that nobody has handled yet has none there.
    """

    id: str
    source: str
    type: str
    cause: str
    published: datetime
    handled: tuple[Handling, ...] = ()


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event without its data, as a list shows it.

    `place` names it to `recall` while the bus holds it. `size` is that of the data in bytes; `correlation` is the id of
    its tree, `causation` the id of the event that led to it. `inner`: the house tells of itself.
    """

    place: str
    type: str
    source: str
    id: str
    subject: str
    time: datetime | None
    published: datetime
    principal: str
    correlation: str
    causation: str
    content_type: str
    size: int
    schema: str = ""
    inner: bool = False


@dataclass(frozen=True, slots=True)
class Recalled:
    """One event with its data, as the bus holds it."""

    envelope: Envelope
    event: Event
