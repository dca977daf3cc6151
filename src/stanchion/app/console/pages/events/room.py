"""What the pages of events share: the door itself and addresses."""

from __future__ import annotations

from .....core.errors import NotFound
from .....events import Event, Events
from ...assets import BASE
from ...shell import Shell

HOME = f"{BASE}/events"


def door(shell: Shell) -> Events:
    """The events. Raises NotFound where the system has none."""
    if shell.doors.events is None:
        raise NotFound("no event is part of this system", next_step="Declare a handler in system.py.")
    return shell.doors.events


def correlation_of(event: Event) -> str:
    """The id under which all that came of the event is found."""
    given = event.extensions.get("correlationid") if event.extensions else None
    return str(given) if given else event.id
