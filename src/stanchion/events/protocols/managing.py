"""Consumers, dead letters, replays and trees of causes over HTTP."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract import (
    ConsumerView,
    DeadLetter,
    Delivery,
    Event,
    Events,
    Hop,
    Outcome,
    Redriven,
    Selection,
    Settled,
)
from ..wire.structured import document_of

Caller = Annotated[Context, Depends(context_of)]
ConsumerName = Annotated[str, Path(description="The name of a consumer.", max_length=100)]
Types = Annotated[list[str] | None, Query(alias="type", description="Event types, or patterns such as `order.*`.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="At most so many.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Chosen(Body):
    """Which events are meant: those that fit all that is given."""

    types: list[str] = Field([], max_length=32, description="Event types, or patterns such as `order.*`.")
    source: str = Field("", max_length=512, description="The source of the events.")
    subject: str = Field("", max_length=512, description="The subject of the events.")
    since: AwareDatetime | None = Field(None, description="Published (of dead letters: given up) from here on.")
    until: AwareDatetime | None = Field(None, description="Published (of dead letters: given up) before here.")
    rate: float | None = Field(None, gt=0, le=100_000, description="At most so many a second.")
    limit: int = Field(10_000, ge=1, le=100_000, description="At most so many.")

    def selection(self, ids: Sequence[str] = ()) -> Selection:
        """As the contract has it."""
        return Selection(
            ids=tuple(ids),
            types=tuple(self.types),
            source=self.source,
            subject=self.subject,
            since=self.since,
            until=self.until,
        )


class Redrive(Chosen):
    """Which dead letters are given to their consumer again."""

    ids: list[str] = Field([], max_length=1_000, description="The dead letters' ids; without any: all that fit.")


class Discard(Body):
    """Which dead letters go for good."""

    ids: list[str] = Field(min_length=1, max_length=1_000, description="The dead letters' ids.")


class Take(Body):
    """What a worker takes."""

    types: list[str] = Field(["*"], min_length=1, max_length=32, description="Bind a consumer at its first call.")
    limit: int = Field(100, ge=1, le=1_000, description="At most so many events.")
    wait: float = Field(0.0, ge=0, le=30, description="Seconds to wait for the first.")


class Ending(Body):
    """What became of one delivery."""

    token: str = Field(max_length=512, description="The delivery's lease.")
    verdict: Literal["done", "retry", "dead"] = Field("done", description="`retry` delivers it again.")
    after: float | None = Field(None, ge=0, le=86_400, description="Seconds before the retry.")
    error: str = Field("", max_length=4_096, description="Why, in words.")


class Settle(Body):
    """What became of several deliveries."""

    outcomes: list[Ending] = Field(min_length=1, max_length=1_000)


class Extend(Body):
    """Which leases are to hold longer."""

    tokens: list[str] = Field(min_length=1, max_length=1_000)
    seconds: float = Field(30.0, gt=0, le=3_600, description="From now on.")


class Delivered(BaseModel):
    """An event for one consumer to handle."""

    event: dict[str, Any]
    token: str
    attempt: int
    key: str
    published: datetime
    seconds: float
    principal: str


class Letter(BaseModel):
    """A dead letter."""

    id: str
    consumer: str
    event: dict[str, Any]
    principal: str
    attempts: int
    error: str
    at: datetime
    history: list[dict[str, Any]]


class Listed(BaseModel):
    """Consumers, by name."""

    data: list[ConsumerView]


class Letters(BaseModel):
    """Dead letters, the newest first."""

    data: list[Letter]


class Taken(BaseModel):
    """Events to handle, none where there are none."""

    data: list[Delivered]


class Ended(BaseModel):
    """How each delivery ended."""

    data: list[Settled]


class Held(BaseModel):
    """Whether each lease was still the caller's."""

    data: list[bool]


class Tree(BaseModel):
    """All that came of one first event, causes first."""

    data: list[Hop]


class Number(BaseModel):
    """How many there were."""

    number: int


def add_operating(api: APIRouter, events: Events) -> None:
    """Add the routes of operators."""

    @api.get("/consumers")
    async def list_consumers(ctx: Caller) -> Listed:
        """Who consumes, how far behind, and how much of it failed."""
        return Listed(data=list(await events.consumers(ctx)))

    @api.post("/consumers/{consumer}/pause", status_code=204)
    async def pause_consumer(ctx: Caller, consumer: ConsumerName) -> Response:
        """Give it nothing more until it is resumed."""
        await events.pause(ctx, consumer)
        return Response(status_code=204)

    @api.post("/consumers/{consumer}/resume", status_code=204)
    async def resume_consumer(ctx: Caller, consumer: ConsumerName) -> Response:
        """Go on where it stopped."""
        await events.resume(ctx, consumer)
        return Response(status_code=204)

    @api.delete("/consumers/{consumer}")
    async def remove_consumer(ctx: Caller, consumer: ConsumerName) -> Number:
        """Forget a consumer that nobody takes for any more; how many events went with it."""
        return Number(number=await events.remove(ctx, consumer))

    @api.get("/dead")
    async def list_dead(ctx: Caller, consumer: str = "", types: Types = None, limit: Limit = 100) -> Letters:
        """Events that were given up, with the error of each attempt."""
        selection = Selection(types=tuple(types)) if types else None
        found = await events.dead(ctx, consumer=consumer, selection=selection, limit=limit)
        return Letters(data=[_letter(each) for each in found])

    @api.post("/consumers/{consumer}/redrive")
    async def redrive_dead(ctx: Caller, consumer: ConsumerName, body: Redrive) -> Redriven:
        """Give dead letters to their consumer again."""
        return await events.redrive(ctx, consumer, body.selection(body.ids), rate=body.rate, limit=body.limit)

    @api.post("/consumers/{consumer}/discard")
    async def discard_dead(ctx: Caller, consumer: ConsumerName, body: Discard) -> Number:
        """Remove dead letters for good."""
        return Number(number=await events.discard(ctx, consumer, body.ids))

    @api.post("/consumers/{consumer}/replay")
    async def replay_events(ctx: Caller, consumer: ConsumerName, body: Chosen) -> Redriven:
        """Give the consumer events once more that it has handled."""
        return await events.replay(ctx, consumer, body.selection(), rate=body.rate, limit=body.limit)

    @api.get("/trees/{correlation}")
    async def show_tree(
        ctx: Caller, correlation: Annotated[str, Path(description="The correlation id.", max_length=512)]
    ) -> Tree:
        """All that came of one first event, and what is stuck."""
        return Tree(data=list(await events.tree(ctx, correlation)))


def add_consuming(api: APIRouter, events: Events) -> None:
    """Add the routes of workers that are no handlers of `system.py`."""

    @api.post("/consumers/{consumer}/take")
    async def take_events(ctx: Caller, consumer: ConsumerName, body: Take) -> Taken:
        """Take events to handle; what is not settled while its lease holds is delivered again."""
        found = await events.take(ctx, consumer, types=body.types, limit=body.limit, wait=body.wait)
        return Taken(data=[_delivered(each) for each in found])

    @api.post("/consumers/{consumer}/settle")
    async def settle_events(ctx: Caller, consumer: ConsumerName, body: Settle) -> Ended:
        """Tell how deliveries ended."""
        outcomes = [
            Outcome(token=each.token, verdict=each.verdict, after=each.after, error=each.error)
            for each in body.outcomes
        ]
        return Ended(data=list(await events.settle(ctx, consumer, outcomes)))

    @api.post("/consumers/{consumer}/extend")
    async def extend_leases(ctx: Caller, consumer: ConsumerName, body: Extend) -> Held:
        """Hold leases longer."""
        return Held(data=list(await events.extend(ctx, consumer, body.tokens, seconds=body.seconds)))


def _delivered(each: Delivery) -> Delivered:
    return Delivered(
        event=plain(each.event),
        token=each.token,
        attempt=each.attempt,
        key=each.key,
        published=each.published,
        seconds=each.seconds,
        principal=each.author.principal,
    )


def _letter(each: DeadLetter) -> Letter:
    return Letter(
        id=each.id,
        consumer=each.consumer,
        event=plain(each.event),
        principal=each.principal,
        attempts=each.attempts,
        error=each.error,
        at=each.at,
        history=[{"at": failure.at, "error": failure.error} for failure in each.history],
    )


def plain(event: Event) -> dict[str, Any]:
    """The event as a CloudEvent document of plain data."""
    document = document_of(event)
    data = document.get("data")
    return {**document, "data": msgspec.json.decode(data)} if isinstance(data, msgspec.Raw) else document
