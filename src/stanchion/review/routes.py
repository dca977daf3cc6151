"""Reviews over HTTP, below `/v1/reviews`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, Field

from ..core.context import Context
from ..core.errors import from_problem
from ..core.http import Routes, context_of
from .bodies import (
    AnswerRequest,
    AskRequest,
    BulkRequest,
    ClaimRequest,
    DecisionBody,
    DeferRequest,
    DelegateRequest,
    GoldenRequest,
    OpenRequest,
    QuestionRequest,
    ReviewerBody,
    TokenRequest,
)
from .contract import (
    Answer,
    Case,
    DatasetVersion,
    Expected,
    Item,
    Opened,
    QueueView,
    Reviewer,
    Reviews,
    Settled,
    Statistics,
    Status,
)

Caller = Annotated[Context, Depends(context_of)]
ItemId = Annotated[str, Path(max_length=100, description="The item's id.")]
QueueName = Annotated[str, Path(max_length=64, description="The queue's name.")]

Reason = Annotated[str, Query(max_length=200, description="Why, for the audit log: such as a request's number.")]


class LeaseItem(BaseModel):
    """A lease that was prolonged."""

    item: str
    token: int
    leased_until: datetime


class ErasedItem(BaseModel):
    """An item that is no more."""

    item: str
    copies: int = Field(description="How many other items had it among their similar cases.")


class EvidenceItem(BaseModel):
    """A decision and the document that was shown."""

    principal: str
    verdict: str
    digest: str = Field(description="SHA-256 of what was shown, in its canonical form (RFC 8785).")
    left: str = Field("", description="SHA-256 of `shown` since an erased similar case was taken out of it.")
    at: datetime
    shown: Any


def routes(reviews: Reviews) -> Routes:
    """The routes over gated reviews."""
    api = APIRouter(prefix="/v1/reviews", tags=["reviews"])
    _overseeing(api, reviews)
    _data(api, reviews)
    _asking(api, reviews)
    _deciding(api, reviews)
    _working(api, reviews)
    return Routes(api=api)


def _overseeing(api: APIRouter, reviews: Reviews) -> None:
    @api.get("/queues")
    async def list_review_queues(ctx: Caller) -> list[QueueView]:
        """Every queue and how it stands."""
        return list(await reviews.queues(ctx))

    @api.get("/reviewers")
    async def list_reviewers(ctx: Caller) -> list[Reviewer]:
        """Every reviewer with an entry."""
        return list(await reviews.reviewers(ctx))

    @api.put("/reviewers/{principal}")
    async def put_reviewer(
        ctx: Caller,
        principal: Annotated[str, Path(max_length=200, description="Such as user:ada.")],
        body: ReviewerBody,
    ) -> Reviewer:
        """Make or replace a reviewer's entry."""
        return await reviews.put_reviewer(ctx, Reviewer(principal=principal, **body.model_dump()))

    @api.get("/queues/{queue}/statistics")
    async def show_statistics(
        ctx: Caller,
        queue: QueueName,
        since: Annotated[datetime | None, Query(description="Items opened since, with an offset from UTC.")] = None,
    ) -> Statistics:
        """A queue's figures: time, verdicts, agreement, and each reviewer's work."""
        return await reviews.statistics(ctx, queue, since=since)

    @api.post("/golden", status_code=201)
    async def seed_item(ctx: Caller, body: GoldenRequest) -> Item:
        """Open a golden item: its right decision is known, and reviewers cannot tell it from others."""
        return await reviews.seed(ctx, body.draft.draft(), Expected(body.verdict, body.value, body.wrong))


def _data(api: APIRouter, reviews: Reviews) -> None:
    @api.get("/queues/{queue}/datasets")
    async def list_datasets(ctx: Caller, queue: QueueName) -> list[DatasetVersion]:
        """The versions of a queue's data set, newest first."""
        return list(await reviews.datasets(ctx, queue))

    @api.post("/queues/{queue}/datasets")
    async def make_dataset(ctx: Caller, queue: QueueName) -> DatasetVersion:
        """The newest version, made now if decisions came since the last."""
        return await reviews.dataset(ctx, queue)

    @api.get("/queues/{queue}/datasets/{number}", response_class=StreamingResponse)
    async def export_dataset(
        ctx: Caller, queue: QueueName, number: Annotated[int, Path(ge=1, le=2**31 - 1, description="A version.")]
    ) -> StreamingResponse:
        """The decisions of a version, one JSON document a line, each with its provenance."""
        pieces = reviews.export(ctx, queue, number)
        # The first piece is asked for before the status is sent, so that a refusal is a proper problem document.
        first = await anext(pieces, b"")
        return StreamingResponse(_joined(first, pieces), media_type="application/jsonl")


def _asking(api: APIRouter, reviews: Reviews) -> None:
    @api.get("")
    async def list_items(
        ctx: Caller,
        queue: Annotated[str, Query(max_length=64, description="Of this queue only.")] = "",
        status: Annotated[Sequence[Status], Query(description="In one of these states only.")] = (),
        mine: Annotated[bool, Query(description="What the caller holds or is assigned.")] = False,
        after: Annotated[str, Query(max_length=100, description="The last id of the page before.")] = "",
        limit: Annotated[int, Query(ge=1, le=200, description="The most items to give.")] = 50,
    ) -> list[Item]:
        """Items without content, the most urgent first."""
        return list(await reviews.items(ctx, queue=queue, status=status, mine=mine, after=after, limit=limit))

    @api.post("")
    async def open_items(ctx: Caller, body: OpenRequest) -> list[Opened]:
        """Open items for those proposals that the queue's rules send to people."""
        return list(await reviews.open(ctx, [each.draft() for each in body.drafts]))

    @api.post("/ask")
    async def ask(ctx: Caller, body: AskRequest) -> Answer:
        """Open an item and wait for its outcome. The same key asked again goes on waiting for the same item."""
        return await reviews.ask(ctx, body.draft.draft(), seconds=body.seconds)

    @api.post("/{item}/information")
    async def inform(ctx: Caller, item: ItemId, body: AnswerRequest) -> Item:
        """Answer a reviewer's question."""
        return await reviews.inform(ctx, item, body.text)


def _deciding(api: APIRouter, reviews: Reviews) -> None:
    @api.post("/claim")
    async def claim(ctx: Caller, body: ClaimRequest) -> list[Case]:
        """Take items under leases of the caller's: what comes next, or those that are named."""
        return list(await reviews.claim(ctx, queue=body.queue, ids=body.items, limit=body.limit))

    @api.post("/decisions")
    async def decide_many(ctx: Caller, body: BulkRequest) -> list[Settled]:
        """Decide several items, each taken or refused by itself."""
        return list(await reviews.decide(ctx, [each.submission(each.item) for each in body.decisions]))

    @api.get("/{item}")
    async def show_item(ctx: Caller, item: ItemId) -> Case:
        """An item as the caller may see it."""
        return await reviews.get(ctx, item)

    @api.delete("/{item}")
    async def erase_item(ctx: Caller, item: ItemId, reason: Reason = "") -> ErasedItem:
        """Erase an item that has ended, as its subject asks, with its copies among the similar cases of others."""
        return ErasedItem(item=item, copies=await reviews.erase(ctx, item, reason=reason))

    @api.get("/{item}/evidence")
    async def show_evidence(ctx: Caller, item: ItemId) -> list[EvidenceItem]:
        """Each decision on an item with the very document that was shown."""
        return [EvidenceItem.model_validate(each) for each in await reviews.evidence(ctx, item)]

    @api.post("/{item}/decision")
    async def decide(ctx: Caller, item: ItemId, body: DecisionBody) -> Settled:
        """Decide one item."""
        [settled] = await reviews.decide(ctx, [body.submission(item)])
        if settled.error is not None:
            raise from_problem(settled.error)
        return settled

    @api.post("/{item}/undo")
    async def undo(ctx: Caller, item: ItemId) -> Item:
        """Take the caller's own decision back while it settles."""
        return await reviews.undo(ctx, item)


def _working(api: APIRouter, reviews: Reviews) -> None:
    @api.post("/{item}/heartbeat")
    async def heartbeat(ctx: Caller, item: ItemId, body: TokenRequest) -> LeaseItem:
        """Prolong a lease."""
        until = await reviews.heartbeat(ctx, item, body.token)
        return LeaseItem(item=item, token=body.token, leased_until=until)

    @api.post("/{item}/release")
    async def release(ctx: Caller, item: ItemId, body: TokenRequest) -> Item:
        """Give an item back undecided."""
        return await reviews.release(ctx, item, body.token)

    @api.post("/{item}/defer")
    async def defer(ctx: Caller, item: ItemId, body: DeferRequest) -> Item:
        """Put an item off."""
        return await reviews.defer(ctx, item, body.token, body.until, note=body.note)

    @api.post("/{item}/question")
    async def need_info(ctx: Caller, item: ItemId, body: QuestionRequest) -> Item:
        """Ask the author."""
        return await reviews.need_info(ctx, item, body.token, body.question)

    @api.post("/{item}/delegate")
    async def delegate(ctx: Caller, item: ItemId, body: DelegateRequest) -> Item:
        """Give an item to one person."""
        return await reviews.delegate(ctx, item, body.to, note=body.note)


async def _joined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
