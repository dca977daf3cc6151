"""What all feeds of a process share."""

from __future__ import annotations

from dataclasses import dataclass

from ...core.clock import Clock
from ...core.storage import Database
from ...core.telemetry.spans import SpanRecorder
from ..packing import Seal
from ..ports import Bus
from .committer import Committer


@dataclass(frozen=True, slots=True)
class Desk:
    """What all feeds of a process share."""

    bus: Bus
    database: Database
    seal: Seal
    clock: Clock
    committer: Committer
    tenant: str
    spans: SpanRecorder | None = None
