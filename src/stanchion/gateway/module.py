"""Builds the gateway from the declared upstreams, models and routes."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from ..core.module import Module, Parts, Settings
from .contract import (
    BudgetSpec,
    CascadeSpec,
    Gateway,
    ModelSpec,
    PriceSpec,
    PrivacySpec,
    RailSpec,
    RouteSpec,
    UpstreamSpec,
)

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.storage import Schema
    from .dormant import Dormant
    from .ports import Transport
    from .prompts.service import PromptService
    from .service import GatewayService
    from .shield.desk import Shield


T = TypeVar("T")


class GatewaySettings(Settings):
    """Settings of the gateway."""

    poll_seconds: float = Field(
        1.0, gt=0, le=60, description="How long another process's change of a route may stay unnoticed."
    )
    counted_in: Literal["database", "keyvalue"] = Field(
        "database", description="Where several processes count budgets together; `keyvalue` is for Redis."
    )
    price_table: bool = Field(
        True, description="Whether prices that are not declared come from the installed table (extra `gateway`)."
    )
    spend_days: int = Field(400, ge=1, le=3_650, description="For how many days every call's spend is kept.")
    output_tokens: int = Field(
        1_000, ge=1, le=1_000_000, description="Tokens set aside for an answer whose length nobody bounds."
    )


async def _build(parts: Parts, settings: GatewaySettings) -> GatewayService | Dormant:
    """A system that declares nothing of the gateway pays nothing for it, until somebody asks for it."""
    from .dormant import Dormant

    return await _made(parts, settings) if parts.declared else Dormant(lambda: _made(parts, settings))


async def _made(parts: Parts, settings: GatewaySettings) -> GatewayService:
    from ..core.storage import Schema
    from .backends.routes import SqlRoutes
    from .cascade.desk import Cascades
    from .money.service import MoneyService
    from .money.tables import metadata
    from .prompts.service import PromptService
    from .routing.attempts import Attempts
    from .routing.building import forms, models_of
    from .routing.choosing import Chooser
    from .routing.table import Table
    from .service import GatewayService
    from .shield.placing import Placing

    await parts.database.prepare(schema())
    await parts.database.prepare(Schema("gateway_money", metadata))
    money = MoneyService(
        database=parts.database,
        keyvalue=parts.keyvalue,
        clock=parts.clock,
        budgets=_of(parts.declared, BudgetSpec),
        prices=_of(parts.declared, PriceSpec),
        shared=settings.counted_in,
        # The table is read at start (a second of one core): only where an upstream may ask for money.
        catalogue=settings.price_table and any(not each.here for each in _of(parts.declared, UpstreamSpec)),
        days=settings.spend_days,
    )
    prompts = PromptService(parts.database, parts.clock)
    privacy = next(iter(_of(parts.declared, PrivacySpec)), None)
    cascades = _of(parts.declared, CascadeSpec)
    metrics = parts.metrics
    models = models_of(
        _of(parts.declared, ModelSpec),
        _of(parts.declared, UpstreamSpec),
        transport=_transports(parts),
        clock=parts.clock,
        on_change=lambda view: metrics.breakers.set(view.share / 100, f"gateway:{view.name}"),
    )
    return GatewayService(
        Table(models, _of(parts.declared, RouteSpec)),
        Chooser(money.prices, output_tokens=settings.output_tokens),
        Attempts(clock=parts.clock, purse=money),
        money=money,
        prompts=prompts,
        shield=_shield(parts, privacy, prompts),
        placing=Placing(privacy, parts.database),
        cascades=Cascades(cascades, forms(parts.clock) if cascades else {}),
        store=SqlRoutes(parts.database, parts.clock),
        clock=parts.clock,
        poll_seconds=settings.poll_seconds,
        served=lambda rung: metrics.rungs.inc("gateway", rung),
    )


def _shield(parts: Parts, privacy: PrivacySpec | None, prompts: PromptService) -> Shield:
    from .privacy.detect import Detector
    from .privacy.guard import Guard
    from .privacy.tables import tokens
    from .privacy.tokens import Tokens
    from .prompts.calls import Prompted
    from .rails.rails import Rails
    from .shield.desk import Shield

    guard = None
    if privacy is not None:
        kept = Tokens(parts.database, parts.vault, tokens, parts.clock)
        guard = Guard(privacy, Detector(privacy), kept)
    rails = _of(parts.declared, RailSpec)
    return Shield(
        guard=guard, rails=Rails(rails) if rails else None, prompted=Prompted(prompts), database=parts.database
    )


def _of(declared: Sequence[object], kind: type[T]) -> list[T]:
    return [item for item in declared if isinstance(item, kind)]


def _transports(parts: Parts) -> Callable[[UpstreamSpec], Transport]:
    from ..core.security.secrets import SecretSource
    from .backends.builtin import BuiltinTransport
    from .backends.http import HttpTransport

    source = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def secret(reference: str) -> str:
        return (await source.resolve(reference, tenant=parts.tenant)).reveal()

    def made(spec: UpstreamSpec) -> Transport:
        if spec.kind == "builtin":
            return BuiltinTransport()
        return HttpTransport(spec, clock=parts.clock, secrets=secret)

    return made


def schema() -> Schema:
    """The tables but those of money; made when the gateway is, not when its process starts."""
    from sqlalchemy import MetaData

    from ..core.storage import Schema
    from .backends.tables import routes
    from .privacy.tables import tokens
    from .prompts.tables import labels, prompts

    whole = MetaData()
    for table in (routes, tokens, prompts, labels):
        table.to_metadata(whole)
    return Schema("gateway", whole)


def _routes(gateway: Gateway) -> Routes:
    from .routes import routes

    return routes(gateway)


MODULE = Module(
    name="gateway",
    contract=Gateway,
    build=_build,
    settings=GatewaySettings,
    declares=(UpstreamSpec, ModelSpec, RouteSpec, CascadeSpec, BudgetSpec, PriceSpec, PrivacySpec, RailSpec),
    routes=_routes,
)
