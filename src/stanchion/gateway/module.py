"""Builds the gateway from the declared upstreams, models and routes."""

from __future__ import annotations

import os
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from pydantic import Field

from ..core.dormant import Dormant
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
    ToolServerSpec,
    UpstreamSpec,
)

if TYPE_CHECKING:
    from ..core.http import Routes
    from ..core.storage import Schema
    from .batches.desk import BatchDesk
    from .embedder.desk import Embedder
    from .money.service import MoneyService
    from .operating import Upstreams
    from .ports import Transport
    from .privacy.guard import Guard
    from .prompts.service import PromptService
    from .rails.rails import Rails
    from .routing.served import Served
    from .service import GatewayService
    from .shield.desk import Shield
    from .shield.placing import Placing
    from .tools.desk import ToolDesk


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
    batch_parallel: int = Field(
        8, ge=1, le=1_000, description="Calls of batches at once in a process; fewer beside live calls, but always one."
    )
    batch_call_seconds: float = Field(300, gt=0, le=3_600, description="The longest that one call of a batch may take.")
    batch_lines: int = Field(50_000, ge=1, le=1_000_000, description="Lines that a file of calls may have.")
    batch_files_bytes: int = Field(
        2 << 30, ge=1, description="Bytes that the files of calls and answers of one tenant may hold together."
    )
    batch_files_days: int = Field(30, ge=1, le=3_650, description="For how many days files and ended batches are kept.")
    batch_lease_seconds: float = Field(
        15, gt=0, le=3_600, description="After how long the batches of a process that died are taken up by another."
    )


async def _build(parts: Parts, settings: GatewaySettings) -> GatewayService | Dormant:
    """A system that declares nothing of the gateway pays nothing for it, until somebody asks for it."""
    return (
        await _made(parts, settings)
        if parts.declared
        else Dormant(Gateway, lambda: _made(parts, settings), empty=("models", "routes", "upstreams", "tools"))
    )


async def _made(parts: Parts, settings: GatewaySettings) -> GatewayService:
    from ..core.storage import Schema
    from .backends.reports import SCHEMA as REPORTS
    from .backends.reports import SqlReports
    from .backends.routes import SqlRoutes
    from .batches.tables import metadata as batch_tables
    from .cascade.desk import Cascades
    from .comparing.desk import Comparer
    from .comparing.tables import metadata as score_tables
    from .embedder.desk import Embedder
    from .money.tables import SCHEMA as money_schema
    from .prompts.service import PromptService
    from .routing.attempts import Attempts
    from .routing.building import forms
    from .routing.choosing import Chooser
    from .routing.metering import Meter
    from .routing.observing import Observing
    from .routing.table import Table
    from .service import GatewayService
    from .shield.placing import Placing

    await parts.database.prepare(schema())
    await parts.database.prepare(money_schema)
    await parts.database.prepare(Schema("gateway_scores", score_tables))
    await parts.database.prepare(Schema("gateway_batches", batch_tables))
    await parts.database.prepare(REPORTS)
    money = _money(parts, settings)
    prompts = PromptService(parts.database, parts.clock)
    privacy = next(iter(_of(parts.declared, PrivacySpec)), None)
    cascades = _of(parts.declared, CascadeSpec)
    metrics = parts.metrics
    embedder = Embedder(Path(parts.folder) / "models")
    guard = _guard(parts, privacy)
    rails = _rails(_of(parts.declared, RailSpec))
    placing = Placing(privacy, parts.database)
    models, upstreams = _models(parts, embedder)
    return GatewayService(
        Table(models, _of(parts.declared, RouteSpec)),
        Chooser(money.prices, output_tokens=settings.output_tokens, drained=upstreams.drained),
        Attempts(clock=parts.clock, purse=money, observing=Observing(parts.clock, parts.spans, Meter(metrics))),
        money=money,
        comparisons=Comparer(parts.database, money.ledger, clock=parts.clock),
        prompts=prompts,
        shield=_shield(parts, guard, rails, prompts),
        placing=placing,
        cascades=Cascades(cascades, forms(parts.clock) if cascades else {}, SqlReports(parts.database, parts.clock)),
        store=SqlRoutes(parts.database, parts.clock),
        upstreams=upstreams,
        embedder=embedder,
        tools=_tools(parts, guard, rails, placing),
        batches=_batches(parts, settings),
        clock=parts.clock,
        poll_seconds=settings.poll_seconds,
        served=lambda rung: metrics.rungs.inc("gateway", rung),
        cached=lambda result: metrics.cache.inc("gateway", result),
    )


def _money(parts: Parts, settings: GatewaySettings) -> MoneyService:
    from .money.service import MoneyService

    return MoneyService(
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


def _models(parts: Parts, embedder: Embedder) -> tuple[dict[str, Served], Upstreams]:
    """The declared models, each with the state of its upstream, and the upstreams themselves."""
    from .backends.drains import SqlDrains
    from .operating import Upstreams
    from .routing.building import models_of
    from .routing.health import Health, Probes

    declared, transport = _of(parts.declared, UpstreamSpec), _transports(parts, embedder)
    health = {spec.name: Health(spec) for spec in declared}
    transports = {spec.name: transport(spec) for spec in declared}
    models = models_of(
        _of(parts.declared, ModelSpec),
        declared,
        transport=lambda spec: transports[spec.name],
        health=health,
        clock=parts.clock,
        on_change=lambda view: parts.metrics.breakers.set(view.share / 100, f"gateway:{view.name}"),
        prices=_of(parts.declared, PriceSpec),
    )
    probes = Probes([(health[name], transports[name]) for name in health], tenant=parts.tenant, clock=parts.clock)
    store = SqlDrains(parts.database, parts.clock)
    return models, Upstreams(list(health.values()), list(models.values()), probes, store, tenant=parts.tenant)


def _guard(parts: Parts, privacy: PrivacySpec | None) -> Guard | None:
    """What looks calls through; None where no rules are declared."""
    if privacy is None:
        return None
    from .privacy.detect import Detector
    from .privacy.guard import Guard
    from .privacy.tables import tokens
    from .privacy.tokens import Tokens

    return Guard(privacy, Detector(privacy), Tokens(parts.database, parts.vault, tokens, parts.clock))


def _rails(declared: Sequence[RailSpec]) -> Rails | None:
    if not declared:
        return None
    from .rails.rails import Rails

    return Rails(declared)


def _shield(parts: Parts, guard: Guard | None, rails: Rails | None, prompts: PromptService) -> Shield:
    from .prompts.calls import Prompted
    from .shield.desk import Shield

    return Shield(guard=guard, rails=rails, prompted=Prompted(prompts), database=parts.database)


def _batches(parts: Parts, settings: GatewaySettings) -> BatchDesk:
    from datetime import timedelta

    from .batches.desk import BatchDesk, BatchLimits

    limits = BatchLimits(
        parallel=settings.batch_parallel,
        seconds=settings.batch_call_seconds,
        lines=settings.batch_lines,
        most_bytes=settings.batch_files_bytes,
        keep=timedelta(days=settings.batch_files_days),
        lease=settings.batch_lease_seconds,
    )
    return BatchDesk(parts.database, parts.blobs, parts.vault, parts.clock, limits=limits)


def _of(declared: Sequence[object], kind: type[T]) -> list[T]:
    return [item for item in declared if isinstance(item, kind)]


def _tools(parts: Parts, guard: Guard | None, rails: Rails | None, placing: Placing) -> ToolDesk:
    """The declared servers of tools."""
    from .backends.http import HttpTransport
    from .backends.mcp import McpServer
    from .tools.desk import ToolDesk, ToolServer
    from .tools.screen import Screen

    secret, clock = _secrets(parts), parts.clock
    declared = _of(parts.declared, ToolServerSpec)
    reached = [(spec, HttpTransport(spec.upstream(), clock=clock, secrets=secret)) for spec in declared]
    servers = [ToolServer(spec, McpServer(spec, transport), clock=clock) for spec, transport in reached]
    return ToolDesk(servers, Screen(guard, rails, placing, parts.database))


def _secrets(parts: Parts) -> Callable[[str], Awaitable[str]]:
    from ..core.security.secrets import SecretSource

    source = SecretSource(parts.database, parts.vault, environment=os.environ, clock=parts.clock)

    async def secret(reference: str) -> str:
        return (await source.resolve(reference, tenant=parts.tenant)).reveal()

    return secret


def _transports(parts: Parts, embedder: Embedder) -> Callable[[UpstreamSpec], Transport]:
    from .backends.builtin import BuiltinTransport
    from .backends.http import HttpTransport

    secret = _secrets(parts)

    def made(spec: UpstreamSpec) -> Transport:
        if spec.kind == "builtin":
            return BuiltinTransport(embedder)
        return HttpTransport(spec, clock=parts.clock, secrets=secret)

    return made


def schema() -> Schema:
    """The tables but those of money; made when the gateway is, not when its process starts."""
    from sqlalchemy import MetaData

    from ..core.storage import Schema
    from .backends.tables import drains, routes
    from .privacy.tables import tokens
    from .prompts.tables import labels, prompts

    whole = MetaData()
    for table in (routes, drains, tokens, prompts, labels):
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
    declares=(
        UpstreamSpec,
        ModelSpec,
        RouteSpec,
        CascadeSpec,
        BudgetSpec,
        PriceSpec,
        PrivacySpec,
        RailSpec,
        ToolServerSpec,
    ),
    routes=_routes,
)
