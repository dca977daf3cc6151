"""Wakes keys that say nothing, by an event of their own that is kept until its moment.

It comes by the bus, behind the rows of its key that came before that moment. So a consumer that is paused, or a process
that stood still, first takes the rows in and then finds that the key was not silent at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING

from ...core.clock import micros, moment
from ...core.context import Context
from ...core.errors import InvalidInput
from ..contract import Event
from .telling import tell

if TYPE_CHECKING:
    from sqlalchemy import Connection


def moment_of(event: Event) -> int:
    """The moment that the event was kept until. Raises InvalidInput for one that the house has not made."""
    try:
        return micros(datetime.fromisoformat(event.json()["at"]))
    except (KeyError, TypeError, ValueError) as error:
        raise InvalidInput("the event tells no moment at which its key was silent") from error


def keep(connection: Connection, ctx: Context, stream: str, wakes: Mapping[str, int], *, now: int) -> None:
    """Have these keys of the stream woken at these moments, with the caller's transaction."""
    from ..keeping import delays  # engines are loaded where they are used
    from ..packing import NoSeal, entry_of, packed_who

    who = packed_who(ctx)
    for key, at in wakes.items():
        event = tell(stream, "silent", key, {"at": moment(at).isoformat()}, str(at))
        entry = entry_of(event, ctx, who, at=now, seal=NoSeal(), origin="house")
        delays.keep(connection, [entry], at=now, call=event.id, due=at)
