"""What all feeds of a process share."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from ...core.clock import Clock
from ...core.context import Context
from ...core.storage import Database
from ...core.telemetry.spans import SpanRecorder
from ..contract import Event
from ..packing import Seal
from ..ports import Bus
from .committer import Committer

Checks = Callable[[Context, Sequence[Event]], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Desk:
    """What all feeds of a process share. `checks` holds follow-up events against the schemas of their types."""

    bus: Bus
    database: Database
    seal: Seal
    clock: Clock
    committer: Committer
    tenant: str
    spans: SpanRecorder | None = None
    checks: Checks | None = None
