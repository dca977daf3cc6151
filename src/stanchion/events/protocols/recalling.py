"""What the bus still holds, over HTTP: the newest events without their data, and one with it."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel

from ..contract import Envelope, Events, Selection
from .managing import Caller, Types, plain


class Envelopes(BaseModel):
    """Events without their data, the newest first."""

    data: list[Envelope]


class Whole(BaseModel):
    """An event with its data, as a CloudEvent."""

    envelope: Envelope
    event: dict[str, Any]


def add_recalling(api: APIRouter, events: Events) -> None:
    """Add the routes."""

    @api.get("/recent")
    async def list_recent(
        ctx: Caller,
        types: Types = None,
        source: Annotated[str, Query(max_length=512, description="Only events of this source.")] = "",
        subject: Annotated[str, Query(max_length=512, description="Only events of this subject.")] = "",
        since: Annotated[AwareDatetime | None, Query(description="Published from here on.")] = None,
        until: Annotated[AwareDatetime | None, Query(description="Published before here.")] = None,
        limit: Annotated[int, Query(ge=1, le=200, description="At most so many.")] = 50,
    ) -> Envelopes:
        """The newest events that the bus holds, without their data."""
        wanted = Selection(types=tuple(types or ()), source=source, subject=subject, since=since, until=until)
        return Envelopes(data=list(await events.recent(ctx, selection=wanted, limit=limit)))

    @api.get("/recent/{place}")
    async def show_event(
        ctx: Caller, place: Annotated[str, Path(max_length=40, description="Its place, as the list tells.")]
    ) -> Whole:
        """One event with its data."""
        found = await events.recall(ctx, place)
        return Whole(envelope=found.envelope, event=plain(found.event))
