"""Which event is being handled under which Context, so that whatever is published meanwhile knows its cause.

`stage` is given a transaction and a Context and no service, so this is the one place that belongs to the process.
"""

from __future__ import annotations

from ..core.context import Context
from .packing import Cause

_running: dict[str, Cause] = {}


def begin(ctx: Context, cause: Cause) -> None:
    """From now on what is published under this Context's request has this cause."""
    _running[ctx.request_id] = cause


def end(ctx: Context) -> None:
    """The handling under this Context is over."""
    _running.pop(ctx.request_id, None)


def cause_of(ctx: Context) -> Cause | None:
    """The event whose handler publishes under this Context, None: nobody's."""
    cause = _running.get(ctx.request_id) if _running else None
    if cause is not None:
        cause.led = True
    return cause
