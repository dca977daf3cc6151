"""Budgets, teams, usage and invoices over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, date, datetime
from typing import Annotated

import msgspec
from fastapi import APIRouter, Depends, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.gateway import Gateway
from ..contract.money import BudgetSpec, BudgetState, Grouping, Invoice, Limit, Team, UsageLine, Window

Caller = Annotated[Context, Depends(context_of)]
BudgetName = Annotated[str, Path(description="The name of a budget.")]
TeamName = Annotated[str, Path(description="The name of a team.")]
Expected = Annotated[int | None, Query(ge=0, description="The version that is to be replaced; 0: none yet.")]
Start = Annotated[date, Query(description="The first day, in UTC.")]
End = Annotated[date, Query(description="The day behind the last one, in UTC.")]
# Who names no days asks for none, which is refused behind the gate: whoever may not ask must not learn how to.
_NO_DAY = date(1970, 1, 1)
_NO_TIME = datetime(1970, 1, 1, tzinfo=UTC)


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class LimitItem(Body):
    """The most that may be used in one window."""

    window: Window
    cost: str | None = Field(None, description="Dollars, as decimal text.")
    tokens: int | None = Field(None, ge=0)
    requests: int | None = Field(None, ge=0)


class BudgetRequest(Body):
    """A budget to put."""

    subject: str = Field("tenant", description="`tenant`, `team:NAME`, `key:ID`, `route:NAME`, or `*` for the name.")
    limits: list[LimitItem] = Field([], description="All of them hold at once.")
    concurrency: int | None = Field(None, ge=0, description="The most calls under way.")


class BudgetList(BaseModel):
    """Budgets, by name, with how full they are."""

    data: list[BudgetState]


class TeamRequest(Body):
    """The members of a team."""

    members: list[str] = Field(description="`key:ID` and `user:NAME`.")


class TeamList(BaseModel):
    """Teams, by name."""

    data: list[Team]


class UsageList(BaseModel):
    """Sums, in the order of their groups."""

    data: list[UsageLine]


def add_accounts(api: APIRouter, gateway: Gateway) -> None:
    """Add the operations."""
    _budgets(api, gateway)
    _teams(api, gateway)
    _usage(api, gateway)


def _budgets(api: APIRouter, gateway: Gateway) -> None:
    @api.get("/budgets")
    async def list_budgets(ctx: Caller) -> BudgetList:
        """The budgets of the caller's tenant, with their levels in picodollars, tokens and requests."""
        return BudgetList(data=list(await gateway.budgets(ctx)))

    @api.put("/budgets/{budget}")
    async def put_budget(
        ctx: Caller, budget: BudgetName, body: BudgetRequest, expected: Expected = None
    ) -> BudgetState:
        """Make or replace a budget."""
        limits = tuple(Limit(**each.model_dump()) for each in body.limits)
        spec = BudgetSpec(budget, body.subject, limits, body.concurrency)
        return await gateway.put_budget(ctx, spec, expected=expected)

    @api.delete("/budgets/{budget}", status_code=204)
    async def delete_budget(ctx: Caller, budget: BudgetName, expected: Expected = None) -> Response:
        """Remove a budget; a declared one of that name holds again."""
        await gateway.delete_budget(ctx, budget, expected=expected)
        return Response(status_code=204)


def _teams(api: APIRouter, gateway: Gateway) -> None:
    @api.get("/teams")
    async def list_teams(ctx: Caller) -> TeamList:
        """The teams of the caller's tenant."""
        return TeamList(data=list(await gateway.teams(ctx)))

    @api.put("/teams/{team}")
    async def put_team(ctx: Caller, team: TeamName, body: TeamRequest, expected: Expected = None) -> Team:
        """Make a team or replace its members."""
        return await gateway.put_team(ctx, team, body.members, expected=expected)

    @api.delete("/teams/{team}", status_code=204)
    async def delete_team(ctx: Caller, team: TeamName, expected: Expected = None) -> Response:
        """Remove a team."""
        await gateway.delete_team(ctx, team, expected=expected)
        return Response(status_code=204)


def _usage(api: APIRouter, gateway: Gateway) -> None:
    @api.get("/usage")
    async def sum_usage(
        ctx: Caller,
        start: Start = _NO_DAY,
        end: End = _NO_DAY,
        by: Annotated[list[Grouping] | None, Query(description="Groups.")] = None,
    ) -> UsageList:
        """Sums of tokens and picodollars, by day unless other groups are named."""
        return UsageList(data=list(await gateway.usage(ctx, start=start, end=end, by=tuple(by or ("day",)))))

    @api.get("/invoice")
    async def make_invoice(
        ctx: Caller,
        start: Start = _NO_DAY,
        end: End = _NO_DAY,
        key: Annotated[str, Query(description="One key's alone.")] = "",
    ) -> Invoice:
        """What the tenant, or one key of it, used in these days."""
        return await gateway.invoice(ctx, start=start, end=end, key=key)

    @api.get("/spend", response_class=Response, responses={200: {"content": {"application/x-ndjson": {}}}})
    async def export_spend(
        ctx: Caller,
        start: Annotated[AwareDatetime, Query(description="From this moment.")] = _NO_TIME,
        end: Annotated[AwareDatetime, Query(description="Until before this moment.")] = _NO_TIME,
    ) -> Response:
        """Every settled call as one JSON object a line."""
        from starlette.responses import StreamingResponse

        pages = gateway.export_usage(ctx, start=start, end=end)

        async def lines(first: bytes) -> AsyncIterator[bytes]:
            yield first
            async for page in pages:
                yield b"".join(msgspec.json.encode(row) + b"\n" for row in page.rows)

        # The first page is read before the head is sent: what is refused is a problem document.
        page = await anext(aiter(pages), None)
        rows = () if page is None else page.rows
        return StreamingResponse(
            lines(b"".join(msgspec.json.encode(row) + b"\n" for row in rows)), media_type="application/x-ndjson"
        )
