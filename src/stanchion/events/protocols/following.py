"""What a follower asks for, and events as it sees them: shared by server-sent events and WebSocket."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, cast

from ...core.context import Context
from ...core.errors import DeadlineExceeded
from ..contract import Delivered, Events, check_patterns
from ..wire.structured import document_of
from ..wire.times import rendered


@dataclass(frozen=True, slots=True)
class Wanted:
    """Events of these types, and of this source and subject where they are given."""

    types: tuple[str, ...] = ("*",)
    source: str | None = None
    subject: str | None = None

    def __post_init__(self) -> None:
        check_patterns(self.types)

    def fits(self, delivered: Delivered) -> bool:
        """Whether the follower asked for it."""
        event = delivered.event
        return (self.source is None or event.source == self.source) and (
            self.subject is None or event.subject == self.subject
        )


async def followed(events: Events, ctx: Context, wanted: Wanted, since: str) -> AsyncIterator[tuple[Delivered, bool]]:
    """Every event behind a position with whether it was asked for, until the caller's time is over.

    The end of the time is no fault: whoever follows comes again, with the position that it has reached.
    """
    # The gate gives an async generator; a remote one too.
    items = cast("AsyncGenerator[Delivered, None]", events.follow(ctx, types=wanted.types, since=since))
    async with aclosing(items):
        try:
            async for delivered in items:
                yield delivered, wanted.fits(delivered)
        except DeadlineExceeded:
            return


def told(delivered: Delivered) -> dict[str, Any]:
    """The event as a CloudEvent document, with the moment of its publication."""
    document = document_of(delivered.event)
    document.setdefault("time", rendered(delivered.published))
    return document
