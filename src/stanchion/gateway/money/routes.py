"""Budgets, teams, usage and invoices over HTTP."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import date, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Path, Query, Response
from fastapi.responses import StreamingResponse
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract.money import (
    Accounts,
    BudgetSpec,
    BudgetState,
    Grouping,
    Invoice,
    Level,
    Limit,
    Measure,
    Team,
    UsageLine,
    Window,
)
from .amounts import dollars
from .documents import MEDIA, Format, invoice_csv, row_of, rows_as

Caller = Annotated[Context, Depends(context_of)]
BudgetName = Annotated[str, Path(max_length=64, description="The budget's name.")]
TeamName = Annotated[str, Path(max_length=64, description="The team's name.")]
Expected = Annotated[int | None, Query(ge=0, description="The version to be replaced; 0: there is none yet.")]
Start = Annotated[date | None, Query(description="First day in UTC; unset: the first of this month.")]
End = Annotated[date | None, Query(description="The day after the last one; unset: tomorrow.")]
From = Annotated[datetime | None, Query(alias="start", description="First moment; unset: the month's beginning.")]
Until = Annotated[datetime | None, Query(alias="end", description="The moment after the last one; unset: now.")]
Tag = Annotated[str, Query(max_length=64, description="The tag whose values are told apart.")]
After = Annotated[str, Query(max_length=20, description="`after` of the page before.")]


class LimitItem(BaseModel):
    """The most that may be used in one window; what is unset is not limited."""

    model_config = ConfigDict(extra="forbid")

    window: Window = Field(description="Calendar in UTC, but a minute is any sixty seconds.")
    cost: str | None = Field(None, description='Dollars as decimal text, such as "12.50".')
    tokens: int | None = Field(None, description="Tokens in and out.")
    requests: int | None = Field(None, description="Calls.")


class BudgetBody(BaseModel):
    """A budget to put."""

    model_config = ConfigDict(extra="forbid")

    subject: str = Field("tenant", description="tenant, team:NAME, key:ID, user:NAME, route:NAME or tag:NAME=VALUE.")
    limits: list[LimitItem] = Field([], max_length=12, description="One for each window at most.")
    concurrency: int | None = Field(None, description="Calls under way at once.")


class LevelItem(BaseModel):
    """How full one limit is. Costs are dollars as decimal text, all else is counts."""

    subject: str
    measure: Measure
    window: Window | None
    limit: str | int
    used: str | int
    reserved: str | int
    resets_at: datetime | None


class BudgetItem(BudgetBody):
    """A budget as it stands. `version` 0 is as the system's file declares it."""

    name: str
    version: int
    declared: bool
    changed_at: datetime | None
    changed_by: str
    levels: list[LevelItem]


class BudgetList(BaseModel):
    """Budgets, by name."""

    data: list[BudgetItem]


class TeamBody(BaseModel):
    """The members of a team."""

    model_config = ConfigDict(extra="forbid")

    members: list[str] = Field(max_length=1000, description="key:ID and user:NAME.")


class TeamItem(TeamBody):
    """A team."""

    name: str
    version: int
    changed_at: datetime | None
    changed_by: str


class TeamList(BaseModel):
    """Teams, by name."""

    data: list[TeamItem]


class UsageItem(BaseModel):
    """Sums over the calls of one group. `unpriced` calls are among the requests and not in the cost."""

    group: dict[str, str]
    requests: int
    unpriced: int
    tokens_in: int
    tokens_out: int
    cached: int
    cache_writes: int
    reasoning: int
    cost_usd: str


class UsageList(BaseModel):
    """Groups, in their order."""

    data: list[UsageItem]


class InvoiceItem(BaseModel):
    """What was used in some days; `end` is the day after the last one. `key` is empty for the whole tenant."""

    tenant: str
    key: str
    start: date
    end: date
    made_at: datetime
    lines: list[UsageItem]
    requests: int
    unpriced: int
    cost_usd: str
    tag: str = ""


class SpendList(BaseModel):
    """A page of the ledger of spend. `after` leads to the next one; it is empty behind the last."""

    data: list[dict[str, Any]]
    after: str


def add_accounts(api: APIRouter, accounts: Accounts) -> None:
    """Add the routes over a gated gateway; `api` stands at `/v1/gateway`."""
    _add_budgets(api, accounts)
    _add_teams(api, accounts)
    _add_usage(api, accounts)


def _add_budgets(api: APIRouter, accounts: Accounts) -> None:
    @api.get("/budgets")
    async def list_budgets(ctx: Caller) -> BudgetList:
        """All budgets with what is used of them."""
        return BudgetList(data=[_budget(state) for state in await accounts.budgets(ctx)])

    @api.get("/budgets/{budget}")
    async def show_budget(ctx: Caller, budget: BudgetName) -> BudgetItem:
        """One budget with what is used of it."""
        return _budget(await accounts.budget(ctx, budget))

    @api.put("/budgets/{budget}")
    async def put_budget(ctx: Caller, budget: BudgetName, body: BudgetBody, expected: Expected = None) -> BudgetItem:
        """Make or replace a budget of the caller's tenant."""
        limits = tuple(Limit(**limit.model_dump()) for limit in body.limits)
        spec = BudgetSpec(budget, body.subject, limits, body.concurrency)
        return _budget(await accounts.put_budget(ctx, spec, expected=expected))

    @api.delete("/budgets/{budget}", status_code=204)
    async def delete_budget(ctx: Caller, budget: BudgetName, expected: Expected = None) -> Response:
        """Remove a budget that was put; one that is declared holds again."""
        await accounts.delete_budget(ctx, budget, expected=expected)
        return Response(status_code=204)


def _add_teams(api: APIRouter, accounts: Accounts) -> None:
    @api.get("/teams")
    async def list_teams(ctx: Caller) -> TeamList:
        """All teams."""
        return TeamList(data=[_team(team) for team in await accounts.teams(ctx)])

    @api.put("/teams/{team}")
    async def put_team(ctx: Caller, team: TeamName, body: TeamBody, expected: Expected = None) -> TeamItem:
        """Make a team, or replace its members."""
        return _team(await accounts.put_team(ctx, team, body.members, expected=expected))

    @api.delete("/teams/{team}", status_code=204)
    async def delete_team(ctx: Caller, team: TeamName, expected: Expected = None) -> Response:
        """Remove a team; what it used stays in its name."""
        await accounts.delete_team(ctx, team, expected=expected)
        return Response(status_code=204)


def _add_usage(api: APIRouter, accounts: Accounts) -> None:
    @api.get("/usage")
    async def show_usage(
        ctx: Caller,
        start: Start = None,
        end: End = None,
        by: Annotated[list[Grouping] | None, Query(description="What to group by; unset: by day.")] = None,
        tag: Tag = "",
    ) -> UsageList:
        """Sums of requests, tokens and cost."""
        lines = await accounts.usage(ctx, start=start, end=end, by=tuple(by or ("day",)), tag=tag)
        return UsageList(data=[_line(line) for line in lines])

    @api.get("/usage/rows")
    async def list_spend(
        ctx: Caller,
        start: From = None,
        end: Until = None,
        after: After = "",
        limit: Annotated[int, Query(ge=1, le=10_000, description="Rows of the page.")] = 1000,
    ) -> SpendList:
        """One page of settled calls, in the order of storing."""
        pages = accounts.export_usage(ctx, start=start, end=end, after=after, rows=limit)
        page = await anext(pages, None)
        if page is None:
            return SpendList(data=[], after="")
        return SpendList(data=[row_of(row) for row in page.rows], after=page.after if len(page.rows) == limit else "")

    @api.get("/usage/export", response_class=StreamingResponse)
    async def export_spend(
        ctx: Caller,
        start: From = None,
        end: Until = None,
        after: After = "",
        form: Annotated[Format, Query(alias="format", description="CSV, or a JSON document a line.")] = "jsonl",
    ) -> StreamingResponse:
        """Every settled call of the time, as it is read."""
        pieces = rows_as(accounts.export_usage(ctx, start=start, end=end, after=after), form)
        first = [piece async for piece in _first(pieces, 2)]
        # They are asked for before the status is sent, so that a refusal is a proper problem document.
        return StreamingResponse(_joined(first, pieces), media_type=MEDIA[form])

    @api.get("/invoices", response_model=InvoiceItem)
    async def show_invoice(
        ctx: Caller,
        start: Start = None,
        end: End = None,
        key: Annotated[str, Query(max_length=200, description="One key or user; unset: the whole tenant.")] = "",
        tag: Tag = "",
        form: Annotated[Literal["json", "csv"], Query(alias="format", description="JSON or CSV.")] = "json",
    ) -> InvoiceItem | Response:
        """What the tenant or one of its keys used, by key, provider, model and price."""
        invoice = await accounts.invoice(ctx, start=start, end=end, key=key, tag=tag)
        return Response(invoice_csv(invoice), media_type=MEDIA["csv"]) if form == "csv" else _invoice(invoice)


async def _first(pieces: AsyncIterator[bytes], count: int) -> AsyncIterator[bytes]:
    for _ in range(count):
        piece = await anext(pieces, None)
        if piece is None:
            return
        yield piece


async def _joined(first: list[bytes], rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    for piece in first:
        yield piece
    async for piece in rest:
        yield piece


def _budget(state: BudgetState) -> BudgetItem:
    spec = state.spec
    return BudgetItem(
        name=spec.name,
        subject=spec.subject,
        limits=[LimitItem(window=x.window, cost=x.cost, tokens=x.tokens, requests=x.requests) for x in spec.limits],
        concurrency=spec.concurrency,
        version=state.version,
        declared=state.declared,
        changed_at=state.changed_at,
        changed_by=state.changed_by,
        levels=[_level(level) for level in state.levels],
    )


def _level(level: Level) -> LevelItem:
    def shown(amount: int) -> str | int:
        return dollars(amount) if level.measure == "cost" else amount

    return LevelItem(
        subject=level.subject,
        measure=level.measure,
        window=level.window,
        limit=shown(level.limit),
        used=shown(level.used),
        reserved=shown(level.reserved),
        resets_at=level.resets_at,
    )


def _team(team: Team) -> TeamItem:
    return TeamItem(
        name=team.name,
        members=list(team.members),
        version=team.version,
        changed_at=team.changed_at,
        changed_by=team.changed_by,
    )


def _line(line: UsageLine) -> UsageItem:
    used = line.usage
    return UsageItem(
        group=dict(line.group),
        requests=line.requests,
        unpriced=line.unpriced,
        tokens_in=used.tokens_in,
        tokens_out=used.tokens_out,
        cached=used.cached,
        cache_writes=used.cache_writes,
        reasoning=used.reasoning,
        cost_usd=dollars(line.cost),
    )


def _invoice(invoice: Invoice) -> InvoiceItem:
    return InvoiceItem(
        tenant=invoice.tenant,
        key=invoice.key,
        start=invoice.start,
        end=invoice.end,
        made_at=invoice.made_at,
        lines=[_line(line) for line in invoice.lines],
        requests=invoice.requests,
        unpriced=invoice.unpriced,
        cost_usd=dollars(invoice.cost),
        tag=invoice.tag,
    )
