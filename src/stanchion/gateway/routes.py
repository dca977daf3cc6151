"""The gateway over HTTP: calls in the clients' own shapes, and the management of routes."""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime
from typing import Annotated, Literal

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import BaseModel, ConfigDict, Field

from ..core.context import Context
from ..core.errors import InvalidInput, Misconfigured
from ..core.http import Routes, context_of
from ..core.values import Json
from .contract import (
    Ask,
    Balance,
    Gateway,
    KeptReport,
    Plan,
    RouteSpec,
    RouteVersion,
    RouteView,
    RungView,
    Shape,
    SimilarSpec,
)
from .money.routes import add_accounts
from .protocols.batches import batch_routes
from .protocols.comparing import add_comparisons
from .protocols.document import document
from .protocols.endpoints import call_routes
from .protocols.mcp import document as mcp_document
from .protocols.mcp import mcp_routes
from .protocols.problems import writers
from .protocols.prompts import add_prompts
from .protocols.tools import add_tools
from .protocols.upstreams import add_upstreams

Caller = Annotated[Context, Depends(context_of)]
RouteName = Annotated[str, Path(description="The name of a route, without `route:`.")]
Version = Annotated[int, Query(ge=0, description="The version that is to be replaced; 0 for a declared or new one.")]
Limit = Annotated[int, Query(ge=1, le=1_000, description="The most versions to give.")]
Before = Annotated[int | None, Query(ge=1, description="Give versions of a lower number.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class SimilarItem(Body):
    """When two questions match."""

    embedder: str = Field(description="The model of embeddings.")
    sure: float = Field(0.97, gt=0, le=1, description="The cosine from which they match.")
    unsure: float = Field(0.9, gt=0, le=1, description="The cosine from which a second check decides.")
    check: str = Field("", description="The model that is asked then; empty: their words must be the same.")


class RouteRequest(Body):
    """A route to put."""

    primary: str = Field(description="The model that is asked first.")
    fallbacks: list[str] = Field([], description="Models that are asked next, in order.")
    max_latency_ms: int | None = Field(None, ge=1, description="Milliseconds for the whole answer.")
    max_cost: str | None = Field(None, description="Dollars for one call, as decimal text.")
    weights: dict[str, float] = Field({}, description="Draws who is asked first, by model.")
    conditions: dict[str, str] = Field({}, description="CEL expressions, by model.")
    attempts: int = Field(1, ge=1, le=10, description="Calls to one model.")
    hedge_ms: int | None = Field(None, ge=1, description="Milliseconds before the next model is asked as well.")
    cache_seconds: int | None = Field(None, ge=1, description="How long the same request has the same answer.")
    similar: SimilarItem | None = Field(None, description="Answer questions that ask the same in other words.")
    balance: Balance = Field("", description="Order the models for each call by `latency` or `cost`.")


class RouteItem(RouteRequest):
    """A route as it is. `version` 0 is as the system's file declares it."""

    name: str
    version: int
    rungs: list[RungView]


class RouteList(BaseModel):
    """Routes, by name."""

    data: list[RouteItem]


class ChangeItem(BaseModel):
    """A field that differs."""

    field: str
    before: str
    after: str


class VersionItem(BaseModel):
    """A version of a route. `restoring` is what would change in the present route if it were brought back."""

    version: int
    changed_at: datetime | None
    changed_by: str
    holds: bool
    changes: list[ChangeItem]
    restoring: list[ChangeItem]
    unfit: str = Field(description="Why it cannot be brought back now; empty where it can.")
    route: RouteRequest | None = Field(description="None where the route was taken back.")


class VersionList(BaseModel):
    """Versions of a route, newest first."""

    data: list[VersionItem]


class RestoreRequest(Body):
    """A version to bring back."""

    restored: int = Field(ge=0, description="The number of the version; 0 is the declared route.")


class ReportList(BaseModel):
    """Reports of cascades, by the cascade's name. Costs are the mean of a call in picodollars."""

    data: list[KeptReport]


class PlanRequest(Body):
    """A call to plan."""

    shape: Literal["chat", "completions", "responses", "embeddings", "rerank", "messages"] = "chat"
    request: dict[str, Json] = Field(description="The body as it would be sent.")
    tags: dict[str, str] = Field({}, description="The tags as they would be sent.")
    version: int | None = Field(
        None, ge=0, description="The version of the route to plan under; None: the present one."
    )


def routes(gateway: Gateway) -> Routes:
    """The routes over a gated gateway."""
    api = APIRouter(prefix="/v1/gateway", tags=["gateway"])
    _managed(api, gateway)
    add_upstreams(api, gateway)
    add_accounts(api, gateway)
    add_prompts(api, gateway)
    add_comparisons(api, gateway)
    add_tools(api, gateway)
    whole = APIRouter()
    whole.include_router(api)
    whole.include_router(batch_routes(gateway))
    hot = [*call_routes(gateway), *mcp_routes(gateway)]
    return Routes(api=whole, hot=hot, paths={**document(), **mcp_document()}, problems=writers())


def _managed(api: APIRouter, gateway: Gateway) -> None:
    @api.get("/routes")
    async def list_routes(ctx: Caller) -> RouteList:
        """The routes, with the state of each model."""
        return RouteList(data=[_item(view) for view in await gateway.routes(ctx)])

    @api.put("/routes/{route}")
    async def put_route(ctx: Caller, route: RouteName, body: RouteRequest, version: Version = 0) -> RouteItem:
        """Make or replace a route of the caller's tenant."""
        return _item(await gateway.put_route(ctx, route, _spec(route, body), version=version))

    @api.delete("/routes/{route}", status_code=204)
    async def drop_route(ctx: Caller, route: RouteName, version: Version = 0) -> Response:
        """Take back what was put; the declared route of that name holds again."""
        await gateway.drop_route(ctx, route, version=version)
        return Response(status_code=204)

    @api.get("/routes/{route}/versions")
    async def list_route_versions(
        ctx: Caller, route: RouteName, limit: Limit = 100, before: Before = None
    ) -> VersionList:
        """Who changed a route when, and what."""
        found = await gateway.route_versions(ctx, route, limit=limit, before=before)
        return VersionList(data=[_version(each) for each in found])

    @api.post("/routes/{route}/restore")
    async def restore_route(ctx: Caller, route: RouteName, body: RestoreRequest, version: Version = 0) -> RouteItem:
        """Bring back a former version of a route, as a new one."""
        return _item(await gateway.restore_route(ctx, route, body.restored, version=version))

    @api.get("/cascades")
    async def list_cascade_reports(ctx: Caller) -> ReportList:
        """What the newest calibration of each cascade found."""
        return ReportList(data=list(await gateway.cascade_reports(ctx)))

    @api.post("/plan")
    async def plan_call(ctx: Caller, body: PlanRequest) -> Plan:
        """Which models a call would be sent to, without making it."""
        shape: Shape = body.shape
        ask = Ask(shape, msgspec.json.encode(body.request), tags=body.tags)
        return await gateway.plan(ctx, ask, version=body.version)


def _spec(name: str, body: RouteRequest) -> RouteSpec:
    """Raises InvalidInput for a route that cannot be."""
    try:
        similar = None if body.similar is None else SimilarSpec(**body.similar.model_dump())
        given = {**body.model_dump(), "fallbacks": tuple(body.fallbacks), "similar": similar}
        return RouteSpec(name=name, **given)
    except Misconfigured as error:
        raise InvalidInput(error.detail, next_step=error.hint) from error


def _item(view: RouteView) -> RouteItem:
    spec = view.spec
    fields = _request(spec).model_dump()
    return RouteItem(name=spec.name, version=view.version, rungs=list(view.rungs), **fields)


def _version(found: RouteVersion) -> VersionItem:
    spec = found.spec
    told = {**asdict(found), "route": None if spec is None else _request(spec)}
    return VersionItem(**{name: value for name, value in told.items() if name != "spec"})


def _request(spec: RouteSpec) -> RouteRequest:
    return RouteRequest(
        primary=spec.primary,
        fallbacks=list(spec.fallbacks),
        max_latency_ms=spec.max_latency_ms,
        max_cost=spec.max_cost,
        weights=dict(spec.weights),
        conditions=dict(spec.conditions),
        attempts=spec.attempts,
        hedge_ms=spec.hedge_ms,
        cache_seconds=spec.cache_seconds,
        balance=spec.balance,
        similar=None if spec.similar is None else SimilarItem(**asdict(spec.similar)),
    )
