"""Builds the bus over the house's database, or over the broker that the settings name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ..core.context import system_context
from ..core.module import Module, Parts
from .contract import Events, EventSpec, HandlerSpec
from .settings import EventsSettings

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.storage import Schema
    from .service import EventService
    from .sleeping import Sleeping


async def _build(parts: Parts, settings: EventsSettings) -> EventService | Sleeping:
    """A system that declares no events, and names no broker, pays next to nothing for them."""
    if settings.schemas == "ignore":
        from .checking import let_through

        await parts.database.write(system_context("*", task="events"), let_through)
    if parts.declared or settings.bus != "database" or settings.mqtt_url:
        return await _made(parts, settings)
    from .sleeping import Sleeping

    return Sleeping(lambda: _made(parts, settings), parts.database)


async def _made(parts: Parts, settings: EventsSettings) -> EventService:
    from .building import build

    return await build(parts, settings)


def _schema() -> Schema:
    from .backends.tables import SCHEMA

    return SCHEMA


def _routes(events: Events) -> Routes:
    from .routes import routes

    return routes(events)


MODULE = Module(
    name="events",
    contract=Events,
    build=_build,
    settings=EventsSettings,
    declares=(EventSpec, HandlerSpec),
    schema=_schema,
    routes=_routes,
)
