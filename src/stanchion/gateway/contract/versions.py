"""Versions of routes: who changed what when, and how a former one is brought back."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .specs import RouteSpec


@dataclass(frozen=True, slots=True)
class RouteChange:
    """One field of a route that differs, as text on both sides; empty where it is not set."""

    field: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class RouteVersion:
    """One version of a route. `spec` is None where the route was taken back.

    Version 0 is as the system's file declares it; it has no `changed_at` and no `changed_by`. `holds` marks the
    present one. `changes` is what it changed in the version before it, `restoring` what would change in the present
    route if it were brought back, and `unfit` why that cannot be done, such as a model that is no longer declared.
    """

    version: int
    spec: RouteSpec | None
    changed_at: datetime | None
    changed_by: str
    holds: bool
    changes: tuple[RouteChange, ...]
    restoring: tuple[RouteChange, ...]
    unfit: str = ""
