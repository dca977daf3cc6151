"""Sidecars over HTTP: one plain fast route for advice, and routes for outcomes and figures."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import Routes, context_of, hot_route
from ...core.telemetry.contract import LedgerRow
from ...core.values import Json
from ..contract import Advice, Settled, SidecarReport, Sidecars

Caller = Annotated[Context, Depends(context_of)]
Name = Annotated[str, Path(max_length=128, description="The sidecar's name.")]
ADVICE = "/v1/advice"


class AdviceAsk(msgspec.Struct, forbid_unknown_fields=True):
    """The body of POST /v1/advice."""

    sidecar: str
    features: dict[str, Any]
    base: Any
    unit: str = ""
    attributes: dict[str, Any] = {}


class OutcomeBody(BaseModel):
    """What came of one advice."""

    model_config = ConfigDict(extra="forbid")

    request_id: str = Field(min_length=1, max_length=64)
    outcome: float = Field(description="Such as the revenue, or 1 for sold and 0 for not.", allow_inf_nan=False)


class OutcomesBody(BaseModel):
    """What came of advices."""

    model_config = ConfigDict(extra="forbid")

    outcomes: list[OutcomeBody] = Field(min_length=1, max_length=1000)


class OutcomesKnown(BaseModel):
    """How many of the advices were known."""

    known: int


class FiguresItem(BaseModel):
    """The answers of one reason."""

    calls: int
    settled: int
    mean_outcome: float | None


class SidecarItem(BaseModel):
    """A sidecar and what became of its calls."""

    sidecar: str
    model: str
    flag: str
    days: float
    calls: int
    reasons: dict[str, int]
    by_reason: dict[str, FiguresItem]
    deviation: float | None = Field(description="Mean relative difference of the model's value from the base value.")
    dropped: int


class SidecarList(BaseModel):
    """Sidecars, by name."""

    data: list[SidecarItem]


def add_sidecars(api: APIRouter, sidecars: Sidecars) -> Routes:
    """Add the management routes; gives the fast one."""

    @api.get("/v1/serving/sidecars")
    async def list_sidecars(ctx: Caller) -> SidecarList:
        """Every sidecar with its figures of the last week."""
        return SidecarList(data=[_item(each) for each in await sidecars.sidecars(ctx)])

    @api.get("/v1/serving/sidecars/{name}")
    async def show_sidecar(
        ctx: Caller, name: Name, days: Annotated[float, Query(gt=0, le=3650, description="How far back.")] = 7.0
    ) -> SidecarItem:
        """One sidecar with its figures."""
        return _item(await sidecars.sidecar(ctx, name, days=days))

    @api.post("/v1/serving/sidecars/{name}/outcomes")
    async def settle(ctx: Caller, name: Name, body: OutcomesBody) -> OutcomesKnown:
        """Tell what came of advices, joined by request id. Sending the same again changes nothing."""
        told = [Settled(each.request_id, each.outcome) for each in body.outcomes]
        return OutcomesKnown(known=await sidecars.settle(ctx, name, told))

    async def advise(ctx: Context, row: LedgerRow, ask: AdviceAsk) -> Advice:
        advice = await sidecars.advise(
            ctx, ask.sidecar, ask.features, ask.base, unit=ask.unit, attributes=ask.attributes
        )
        row.subject, row.version, row.rung, row.items = advice.sidecar, advice.version, advice.reason, 1
        return advice

    return Routes(hot=[hot_route(ADVICE, msgspec.json.Decoder(AdviceAsk), advise)], paths=PATHS, schemas=SCHEMAS)


def _item(report: SidecarReport) -> SidecarItem:
    plain: dict[str, Any] = msgspec.to_builtins(report)
    return SidecarItem.model_validate(plain)


_REASONS = ["ai", "flag_off", "low_confidence", "outside_band", "timeout", "error"]
_ANY: dict[str, Json] = {"description": "Any JSON value; a number where a band of numbers is declared."}
SCHEMAS: dict[str, Any] = {
    "AdviceRequest": {
        "type": "object",
        "additionalProperties": False,
        "required": ["sidecar", "features", "base"],
        "properties": {
            "sidecar": {"type": "string"},
            "features": {"type": "object", "description": "One instance, as the model's input schema has it."},
            "base": _ANY,
            "unit": {"type": "string", "description": "What the flag's rollout sticks to, such as a customer's id."},
            "attributes": {"type": "object", "description": "What the flag's rules are evaluated for."},
        },
    },
    "Advice": {
        "type": "object",
        "required": ["request_id", "sidecar", "source", "reason", "value", "base"],
        "properties": {
            "request_id": {"type": "string", "description": "Names this advice when its outcome is told."},
            "sidecar": {"type": "string"},
            "source": {"type": "string", "enum": ["ai", "base"]},
            "reason": {"type": "string", "enum": _REASONS},
            "value": {"description": "The value to use."},
            "base": _ANY,
            "candidate": {"description": "The model's value where it gave one, used or not."},
            "confidence": {"type": ["number", "null"]},
            "version": {"type": "string"},
            "milliseconds": {"type": "number"},
            "detail": {"type": "string"},
        },
    },
}
PATHS: dict[str, Any] = {
    ADVICE: {
        "post": {
            "operationId": "advise",
            "tags": ["sidecars"],
            "summary": "Ask a sidecar for the value to use",
            "description": "Answers within the sidecar's time limit: with the model's value, or with `base` and why.",
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": {"$ref": "#/components/schemas/AdviceRequest"}}},
            },
            "responses": {
                "200": {
                    "description": "The value to use, and why",
                    "content": {"application/json": {"schema": {"$ref": "#/components/schemas/Advice"}}},
                },
                **{
                    str(status): {
                        "description": text,
                        "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                    }
                    for status, text in {
                        400: "The body is not one JSON document",
                        401: "No valid credential",
                        403: "The key may not ask this sidecar",
                        404: "No such sidecar",
                        422: "The body does not have the documented shape",
                        429: "Too many requests",
                    }.items()
                },
            },
        }
    }
}
