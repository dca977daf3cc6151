"""The contract of Reviews: proposals of models, decided by people."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Protocol

from ...core.context import Context
from ...core.contract import action
from .decisions import Settled, Submission
from .items import Answer, Case, Draft, Expected, Item, Opened, Status
from .quality import DatasetVersion, QueueView, Reviewer, Statistics

MOST_DRAFTS = 100
MOST_SUBMISSIONS = 100
LARGEST = 10_000
"""The most items that one statistic looks at."""


class Asking(Protocol):
    """What a system asks its reviewers."""

    @action("review:open", effect="write", resource="Review")
    async def open(self, ctx: Context, drafts: Sequence[Draft]) -> Sequence[Opened]:
        """What became of each draft, in order, all or none. At most 100.

        A draft whose key the same author has used in the queue gives the item of then. Raises Conflict if that had
        another input or proposal, or another author; NotFound for an unknown queue; InvalidInput.
        """
        ...

    @action("review:open", effect="write", resource="Review")
    async def ask(self, ctx: Context, draft: Draft, *, seconds: float = 0.0) -> Answer:
        """Open the draft, which must have a key, and wait up to so many seconds (at most 300) for its outcome.

        Asking again with the same key goes on waiting for the same item, also after a restart. Raises as `open`, and
        NotTrustworthy if a decision is not about what was shown.
        """
        ...

    @action("review:inform", effect="write", resource="Review", by="item")
    async def inform(self, ctx: Context, item: str, text: str) -> Item:
        """Answer a reviewer's question; the item is open again. Raises NotFound; Conflict if nobody asked."""
        ...


class Deciding(Protocol):
    """What reviewers do."""

    @action("review:read", effect="read", resource="Review")
    async def queues(self, ctx: Context) -> Sequence[QueueView]:
        """Every queue by name, with how it stands."""
        ...

    @action("review:read", effect="read", resource="Review")
    async def items(
        self,
        ctx: Context,
        *,
        queue: str = "",
        status: Sequence[Status] = (),
        mine: bool = False,
        after: str = "",
        limit: int = 50,
    ) -> Sequence[Item]:
        """Items without content, the most urgent first and the oldest of those first; at most 200.

        `mine`: only what the caller holds or is assigned. `after` is the id of the last item of the page before;
        a page does not repeat items, and may miss ones that changed their priority meanwhile.
        """
        ...

    @action("review:see", effect="read", resource="Review", by="item")
    async def get(self, ctx: Context, item: str) -> Case:
        """An item as the caller may see it. Raises NotFound."""
        ...

    @action("review:claim", effect="write", resource="Review")
    async def claim(self, ctx: Context, *, queue: str = "", ids: Sequence[str] = (), limit: int = 1) -> Sequence[Case]:
        """Up to `limit` (at most 50) items under leases of the caller: what to work on next, or the ids that are named.

        Never an item whose author the caller is, or that it has decided already; none beyond its skills and capacity.
        An item that it holds is given again under its lease. Ids that cannot be had are left out; a single one
        raises why: NotFound, NotAllowed or Conflict.
        """
        ...

    @action("review:claim", effect="write", resource="Review", by="item")
    async def heartbeat(self, ctx: Context, item: str, token: int) -> datetime:
        """Prolong a lease; until when it holds now. Raises Conflict if it has ended or is another's; NotFound."""
        ...

    @action("review:claim", effect="write", resource="Review", by="item")
    async def release(self, ctx: Context, item: str, token: int) -> Item:
        """Give an item back undecided. Raises Conflict; NotFound."""
        ...

    @action("review:decide", effect="write", resource="Review")
    async def decide(self, ctx: Context, submissions: Sequence[Submission]) -> Sequence[Settled]:
        """What became of each submission, in order; each is taken or refused by itself. At most 100.

        Refused are: a lease that has ended, a version or a digest that is not the present one, an author's decision
        on their own item, a second decision of one person, a reason that the queue does not know, an edit that changes
        nothing or touches what is masked.
        """
        ...

    @action("review:decide", effect="write", resource="Review", by="item")
    async def undo(self, ctx: Context, item: str) -> Item:
        """Take the caller's own decision back while it is settling. Raises Conflict when the time is over; NotFound."""
        ...

    @action("review:claim", effect="write", resource="Review", by="item")
    async def defer(self, ctx: Context, item: str, token: int, until: datetime, *, note: str = "") -> Item:
        """Put an item off. Its clock runs on. Raises InvalidInput unless `until` is before it expires; Conflict."""
        ...

    @action("review:claim", effect="write", resource="Review", by="item")
    async def need_info(self, ctx: Context, item: str, token: int, question: str) -> Item:
        """Ask the author; the item waits for `inform`. Its clock runs on. Raises Conflict; NotFound."""
        ...

    @action("review:assign", effect="write", resource="Review", by="item")
    async def delegate(self, ctx: Context, item: str, to: str, *, note: str = "") -> Item:
        """Give an item to one person, who alone may claim it while the offer lasts; leases on it end.

        Raises InvalidInput for its author or one who has decided it; Conflict if it is decided; NotFound.
        """
        ...


class Overseeing(Protocol):
    """Who reviews, how well, and what is learnt from it."""

    @action("review:read", effect="read", resource="Review")
    async def reviewers(self, ctx: Context) -> Sequence[Reviewer]:
        """Every reviewer with an entry, by principal."""
        ...

    @action("review:assign", effect="write", resource="Review")
    async def put_reviewer(self, ctx: Context, reviewer: Reviewer) -> Reviewer:
        """Make or replace a reviewer's entry. Raises InvalidInput."""
        ...

    @action("review:seed", effect="write", resource="Review")
    async def seed(self, ctx: Context, draft: Draft, expected: Expected) -> Item:
        """Open a golden item: reviewers cannot tell it from others. It joins no data set and is told to nobody."""
        ...

    @action("review:read_quality", effect="read", resource="Review")
    async def statistics(self, ctx: Context, queue: str, *, since: datetime | None = None) -> Statistics:
        """A queue's figures. Raises NotFound."""
        ...

    @action("review:read", effect="read", resource="Review")
    async def datasets(self, ctx: Context, queue: str) -> Sequence[DatasetVersion]:
        """The versions of a queue's data set, newest first."""
        ...

    @action("review:publish", effect="write", resource="Review")
    async def dataset(self, ctx: Context, queue: str) -> DatasetVersion:
        """The newest version of the data set, made now if decisions came since the last. Raises NotFound."""
        ...

    @action("review:export", effect="read", resource="Review")
    def export(self, ctx: Context, queue: str, version: int) -> AsyncIterator[bytes]:
        """The JSON lines of a version in pieces: one canonical document for each decided item, with its provenance.

        Raises NotFound, also where retention has removed items of the version, and NotTrustworthy if the lines no
        longer have the version's digest.
        """
        ...

    @action("review:export", effect="read", resource="Review", by="item")
    async def evidence(self, ctx: Context, item: str) -> Sequence[dict[str, Any]]:
        """Each decision on an item with the very document that was shown: principal, verdict, digest, shown, at.

        Where an erased item was among its similar cases, `left` is the digest of the rest, which is given; else empty.
        """
        ...

    @action("review:erase", effect="write", resource="Review", by="item", seconds=300)
    async def erase(self, ctx: Context, item: str, *, reason: str = "") -> int:
        """Erase an item that has ended, with content, decisions and notices; from how many others its copies went.

        A copy is what others were shown of it as a similar case; their decisions stay. Versions of the data set that
        hold the item can be exported no more. `reason` goes to the audit log (such as a request's number, at most 200
        characters). Raises NotFound; Conflict if it is undecided.
        """
        ...


class Reviews(Asking, Deciding, Overseeing, Protocol):
    """Proposals of models that people decide.

    Two persons never decide one seat of an item; a lease that has ended decides nothing; a decision is about exactly
    what was shown. Ids are opaque text. All is kept apart by tenant.
    """
