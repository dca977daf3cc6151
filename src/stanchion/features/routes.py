"""The feature store over HTTP."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import APIRouter, Depends, Path, Query
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ..core.context import Context
from ..core.http import Routes, context_of
from ..core.values import Json
from .contract import (
    Features,
    Lineage,
    Logged,
    Reading,
    Row,
    Service,
    SkewReport,
    Vector,
    View,
    ViewHealth,
)
from .feast import http as feast
from .offline_routes import add_historical, add_materialise, schemas

Caller = Annotated[Context, Depends(context_of)]
ViewName = Annotated[str, Path(description="The name of a declared feature view.")]
ServiceName = Annotated[str, Path(description="The name of a declared feature service.")]
Limit = Annotated[int, Query(ge=1, le=10_000, description="How many vectors at most.")]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class ReadRequest(Body):
    """Which entities to read."""

    keys: list[str] = Field(description="1 to 1,000 entity keys.")


class RowItem(Body):
    """Values of one entity as of an event time."""

    key: str = Field(description="The entity's key, at most 256 bytes.")
    values: dict[str, Json] = Field(description="Every field of the view's type.")
    at: AwareDatetime = Field(description="When the values were true, with its offset from UTC.")


class PushRequest(Body):
    """Rows to store, all or none."""

    rows: list[RowItem] = Field(description="1 to 10,000 rows.")


class ViewList(BaseModel):
    """The declared views, by name."""

    data: list[View]


class ReadingItem(BaseModel):
    """What a view knows of one entity: present, stale (values withheld) or unknown."""

    key: str
    status: str
    values: dict[str, Json]
    at: datetime | None


class ReadingList(BaseModel):
    """One reading for each key, in the order of the keys."""

    data: list[ReadingItem]


class PushReport(BaseModel):
    """How many rows were newer than what was held."""

    newer: int


class Accepted(BaseModel):
    """How many vectors were queued."""

    queued: int


class ServiceList(BaseModel):
    """The declared feature services, by name."""

    data: list[Service]


class VectorsRequest(Body):
    """Whose vectors to read, and the request-time fields of each."""

    entities: list[dict[str, str]] = Field(description="1 to 1,000 entities, each by its keys.")
    request: list[dict[str, Json]] = Field(
        default_factory=list, description="The fields of the request for each entity, where a transform needs them."
    )


class VectorList(BaseModel):
    """One vector for each entity, in their order."""

    data: list[Vector]


class LoggedItem(Body):
    """A vector as a prediction used it."""

    request_id: str = Field(min_length=1, max_length=128, description="The prediction's request id.")
    entities: dict[str, str] = Field(description="The entity keys.")
    request: dict[str, Json] = Field(default_factory=dict, description="The request-time fields.")
    values: dict[str, Json] = Field(description="Every feature of the service.")
    read_at: AwareDatetime = Field(description="When the vector was read, with its offset from UTC.")


class LogRequest(Body):
    """Vectors to keep for the skew monitor."""

    vectors: list[LoggedItem] = Field(min_length=1, max_length=1_000, description="1 to 1,000 vectors.")


class HealthList(BaseModel):
    """The state of every view, by name."""

    data: list[ViewHealth]


def routes(features: Features) -> Routes:
    """The routes over a gated feature store."""
    api = APIRouter(tags=["features"])
    _views(api, features)
    _services(api, features)
    add_materialise(api, features)
    add_historical(api, features)
    return Routes(api=api, hot=[feast.route(features)], paths=feast.PATHS, schemas={**feast.SCHEMAS, **schemas()})


def _views(api: APIRouter, features: Features) -> None:
    @api.get("/v1/features")
    async def list_views(ctx: Caller) -> ViewList:
        """The declared feature views."""
        return ViewList(data=list(await features.views(ctx)))

    @api.get("/v1/features/health")
    async def feature_health(ctx: Caller) -> HealthList:
        """Freshness and null rates of every view, with states and reasons."""
        return HealthList(data=list(await features.health(ctx)))

    @api.post("/v1/features/{view}/read")
    async def read(ctx: Caller, view: ViewName, body: ReadRequest) -> ReadingList:
        """The newest values of entities, withheld where they are older than the view allows."""
        return ReadingList(data=[_reading_item(each) for each in await features.read(ctx, view, body.keys)])

    @api.post("/v1/features/{view}/push")
    async def push(ctx: Caller, view: ViewName, body: PushRequest) -> PushReport:
        """Store rows; one bad row refuses all, and an older event time never wins."""
        rows = [Row(row.key, row.values, row.at) for row in body.rows]
        return PushReport(newer=await features.push(ctx, view, rows))


def _services(api: APIRouter, features: Features) -> None:
    @api.get("/v1/features/services")
    async def list_services(ctx: Caller) -> ServiceList:
        """The declared feature services, each with the fingerprint of its definitions."""
        return ServiceList(data=list(await features.services(ctx)))

    @api.post("/v1/features/services/{service}/vectors")
    async def read_vectors(ctx: Caller, service: ServiceName, body: VectorsRequest) -> VectorList:
        """One feature vector for each entity; what a view cannot give is null and has its status."""
        return VectorList(data=list(await features.vectors(ctx, service, body.entities, request=body.request)))

    @api.post("/v1/features/services/{service}/log")
    async def log_vectors(ctx: Caller, service: ServiceName, body: LogRequest) -> Accepted:
        """Keep vectors that predictions used elsewhere, for the skew monitor."""
        given = [
            Logged(each.request_id, each.entities, each.request, each.values, each.read_at) for each in body.vectors
        ]
        await features.log(ctx, service, given)
        return Accepted(queued=len(given))

    @api.get("/v1/features/services/{service}/skew")
    async def feature_skew(ctx: Caller, service: ServiceName, limit: Limit = 1_000) -> SkewReport:
        """The newest logged vectors against the offline join as it was known at their moments."""
        return await features.skew(ctx, service, limit=limit)

    @api.get("/v1/features/services/{service}/lineage")
    async def feature_lineage(ctx: Caller, service: ServiceName) -> Lineage:
        """From the columns of sources to the features of the service."""
        return await features.lineage(ctx, service)


def _reading_item(reading: Reading) -> ReadingItem:
    return ReadingItem(key=reading.key, status=reading.status, values=dict(reading.values), at=reading.at)
