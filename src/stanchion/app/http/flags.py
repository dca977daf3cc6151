"""Feature flags over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Body, Depends
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request

from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput
from ...core.flags import Evaluation, Flag, Flags
from ...core.http.routes import Routes, context_of


def _caller(request: Request) -> Context:
    return context_of(request)


Caller = Annotated[Context, Depends(_caller)]


class EvaluateBody(BaseModel):
    """Flags to evaluate, for a unit with these attributes."""

    model_config = ConfigDict(extra="forbid")

    keys: list[str] = Field(min_length=1, max_length=100)
    attributes: dict[str, Any] = Field({}, max_length=100)


class KillBody(BaseModel):
    """Whether the flag is switched off."""

    model_config = ConfigDict(extra="forbid")

    on: bool


def routes(flags: Flags) -> Routes:
    """The routes of feature flags."""
    api = APIRouter(prefix="/v1/flags", tags=["flags"])

    @api.get("")
    async def list_flags(ctx: Caller) -> list[dict[str, Any]]:
        """Every flag of the tenant."""
        return [msgspec.to_builtins(flag) for flag in await flags.list(ctx)]

    @api.post("/evaluate")
    async def evaluate(ctx: Caller, body: EvaluateBody) -> list[dict[str, Any]]:
        """The value of each flag, and why."""
        found: list[Evaluation] = list(await flags.evaluate(ctx, body.keys, body.attributes))
        return [msgspec.to_builtins(item) for item in found]

    @api.put("/{key}")
    async def set_flag(ctx: Caller, key: str, body: Annotated[dict[str, Any], Body()]) -> dict[str, Any]:
        """Store a flag made from the version it names."""
        try:
            flag = msgspec.convert(body, Flag)
        except msgspec.ValidationError as error:
            raise InvalidInput("the body is not a flag", fields=[FieldProblem("$", str(error))]) from error
        stored: dict[str, Any] = msgspec.to_builtins(await flags.set(ctx, key, flag))
        return stored

    @api.post("/{key}/kill")
    async def kill(ctx: Caller, key: str, body: KillBody) -> dict[str, Any]:
        """Switch a flag off, or back on."""
        stored: dict[str, Any] = msgspec.to_builtins(await flags.kill(ctx, key, body.on))
        return stored

    return Routes(api=api)
