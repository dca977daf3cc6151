"""What review needs from its engines: rows in transactions, a herald of news, and a channel for notices.

Everything personal is in texts, which are sealed before they come here; rows hold what the rules of the queue look at.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol, TypeVar

from ..core.context import Context
from ..core.values import Json
from .contract import DatasetVersion, Mark, Priority, Reviewer, ReviewEvent, Status, Verdict

T = TypeVar("T")
PRIORITIES: tuple[Priority, ...] = ("urgent", "high", "normal", "low")
"""By the number that stands for each: the smaller, the more urgent."""


@dataclass(frozen=True, slots=True)
class Lease:
    """A seat taken. Tokens of an item only grow, so a later holder's is greater than any before."""

    holder: str
    token: int
    since: datetime
    until: datetime


@dataclass(frozen=True, slots=True)
class Vote:
    """One person's decision. `text` holds value, patch and note; `shown` the document; both are sealed.

    `result` tells apart different values without telling them. `right` is set for golden items. `left` is the digest of
    `shown` since an erased item was taken out of it; empty: none was, and `digest` is that of `shown`.
    """

    by: str
    verdict: Verdict
    reason: str
    text: str
    shown: str
    digest: str
    result: str
    at: datetime
    seconds: float
    adjudicates: bool = False
    right: bool | None = None
    left: str = ""


@dataclass(frozen=True, slots=True)
class Ending:
    """How an item ended; `text` is that of the vote whose value holds, empty at expiry."""

    verdict: Verdict
    reason: str
    text: str
    by: Sequence[str]
    digests: Sequence[str]
    at: datetime
    expired: bool = False


@dataclass(frozen=True, slots=True)
class State:
    """What of an item changes, besides the columns that stores search by."""

    leases: tuple[Lease, ...] = ()
    votes: tuple[Vote, ...] = ()
    marks: tuple[Mark, ...] = ()
    notes: tuple[str, ...] = ()
    fence: int = 0
    adjudicating: bool = False
    warned: bool = False
    escalated: bool = False
    offered: tuple[str, ...] = ()
    offered_until: datetime | None = None
    deferred_until: datetime | None = None
    undo_until: datetime | None = None
    ending: Ending | None = None


@dataclass(frozen=True, slots=True)
class Facts:
    """What of an item never changes and is no content. `content` and `expected` are ids of sealed texts."""

    title: str
    needed: int
    blind: bool
    skills: tuple[str, ...]
    excluded: tuple[str, ...]
    matched: tuple[str, ...]
    model: str
    model_version: str
    request_id: str
    content: str
    fingerprint: str
    expected: str = ""
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """An item as stored. `number` orders a tenant's items; `finished` orders those decided for good, from 1."""

    id: str
    number: int
    queue: str
    key: str
    status: Status
    priority: int
    level: int
    version: int
    author: str
    assignee: str
    golden: bool
    opened_at: datetime
    warn_at: datetime
    due_at: datetime
    expires_at: datetime
    facts: Facts
    state: State = State()
    finished: int | None = None


@dataclass(frozen=True, slots=True)
class News:
    """Something that happened to an item, to be told in the transaction of the change."""

    kind: ReviewEvent
    row: Row
    at: datetime
    by: str = ""
    more: Mapping[str, Json] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Notice:
    """A message to one address. It names an item and holds nothing of its content."""

    id: str
    to: str
    subject: str
    text: str
    at: datetime
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which items are looked for; empty means any."""

    queue: str = ""
    statuses: Sequence[str] = ()
    person: str = ""
    after: str = ""


class Records(Protocol):
    """One tenant's rows inside one transaction. In a read only the methods that change nothing may be called."""

    def find(self, item: str) -> Row | None:
        """One item."""
        ...

    def keyed(self, queue: str, key: str) -> Row | None:
        """The item with this key."""
        ...

    def page(self, wanted: Wanted, limit: int) -> Sequence[Row]:
        """Items by priority, then by number. `person`: held by or assigned to that person."""
        ...

    def due(self, at: datetime, limit: int) -> Sequence[Row]:
        """Items to which time has something to do at this moment, the earliest first."""
        ...

    def recent(self, queue: str, since: datetime | None, limit: int, *, statuses: Sequence[str] = ()) -> Sequence[Row]:
        """Items of a queue, the newest first."""
        ...

    def finished(self, queue: str, upto: int, after: int, limit: int) -> Sequence[Row]:
        """Items decided by persons for good with `after` < finished <= `upto`, ascending; no golden ones."""
        ...

    def ended(self, queue: str, opened_before: datetime, after: int, limit: int) -> Sequence[Row]:
        """Items decided or expired for good that were opened before a moment, by number, those above `after`."""
        ...

    def hold(self, holder: str, items: Sequence[str]) -> None:
        """Note of which items an item holds copies, in place of what was noted of it."""
        ...

    def holders(self, items: Sequence[str]) -> Sequence[Row]:
        """The other items that are noted to hold copies of some of these, by number."""
        ...

    def unnoted(self, queue: str, limit: int) -> Sequence[Row]:
        """Items of a queue of which nothing was noted yet: those that are older than such notes."""
        ...

    def remove(self, items: Sequence[str]) -> None:
        """Delete items with all their texts, the notices about them and what is noted of their copies."""
        ...

    def drop_texts(self, texts: Sequence[str]) -> None:
        """Delete sealed texts."""
        ...

    def counts(self, queue: str) -> Mapping[str, int]:
        """Items by status, and how many undecided ones are `warned` and `raised`."""
        ...

    def oldest(self, queue: str) -> datetime | None:
        """When the oldest undecided item was opened."""
        ...

    def held(self, people: Sequence[str], at: datetime) -> Mapping[str, int]:
        """How many leases each person holds."""
        ...

    def save(self, row: Row, next_at: datetime | None) -> None:
        """Insert or replace an item; `next_at` is when time next has something to do to it."""
        ...

    def number(self, counter: str) -> int:
        """The next number of one of the tenant's counters, from 1."""
        ...

    def last(self, counter: str) -> int:
        """The last number that a counter gave; 0 where it gave none."""
        ...

    def put_text(self, text: str, item: str, sealed: bytes) -> None:
        """Keep a sealed text."""
        ...

    def texts(self, texts: Sequence[str]) -> Mapping[str, bytes]:
        """Sealed texts by id; unknown ones are absent."""
        ...

    def reviewers(self) -> Sequence[Reviewer]:
        """Every entry, by principal."""
        ...

    def put_reviewer(self, reviewer: Reviewer) -> None:
        """Make or replace an entry."""
        ...

    def datasets(self, queue: str, limit: int) -> Sequence[tuple[DatasetVersion, int]]:
        """Versions, newest first, each with the greatest `finished` in it."""
        ...

    def add_dataset(self, version: DatasetVersion, upto: int) -> None:
        """Add a version."""
        ...

    def tell(self, news: Sequence[News]) -> None:
        """Publish events with the transaction."""
        ...

    def notify(self, notices: Sequence[Notice]) -> None:
        """Queue notices with the transaction."""
        ...

    def notices(self, at: datetime, limit: int) -> Sequence[Notice]:
        """Notices to be sent at this moment, the oldest first."""
        ...

    def sent(self, notice: str, again_at: datetime | None, attempts: int) -> None:
        """A notice was sent, or shall be tried again."""
        ...


class Store(Protocol):
    """Transactions over Records. `work` may run twice, so it has no effect but on its records."""

    async def read(self, tenant: str, work: Callable[[Records], T]) -> T:
        """What `work` returns, from one consistent snapshot."""
        ...

    async def write(self, ctx: Context, work: Callable[[Records], T]) -> T:
        """What `work` returns, once all is durable. Writers of one tenant take turns, in every process."""
        ...

    async def waiting(self, at: datetime, limit: int) -> Sequence[str]:
        """Tenants with items or notices that are due."""
        ...

    async def tenants(self, queue: str) -> Sequence[str]:
        """Tenants with items in a queue."""
        ...


class Notifier(Protocol):
    """Takes a notice to its address: e-mail, chat, a file."""

    async def send(self, notice: Notice) -> None:
        """Return once it is on its way. Raises Unavailable where it should be tried again."""
        ...
