"""Money of the gateway: prices, budgets, teams, usage and invoices.

Amounts are integers of picodollars (10^-12 US dollars); where a person writes one it is decimal text in dollars.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from .calls import Usage

Window = Literal["minute", "hour", "day", "month"]
Measure = Literal["cost", "tokens", "requests", "concurrency"]
Grouping = Literal["day", "team", "key", "route", "provider", "model", "outcome", "tag"]


@dataclass(frozen=True, slots=True)
class PriceSpec:
    """A price that goes before the built-in table, and before the nothing that tokens of one's own machines cost else.

    `provider` is an upstream or a kind of upstream, `model` a model's name there; both may be patterns
    with `*` and `?`.

    `input`, `output`, `cached` and `cache_write` are dollars for a million tokens, `request` dollars for a call, all
    as decimal text ("0.15"). Without `cached` or `cache_write` such tokens cost what input does; where only one of
    `input` and `output` is given, it holds for both. The first spec that matches is taken.
    """

    provider: str
    model: str
    input: str | None = None
    output: str | None = None
    cached: str | None = None
    cache_write: str | None = None
    request: str | None = None


@dataclass(frozen=True, slots=True)
class Limit:
    """The most that may be used in one window. `cost` is dollars as decimal text; None is no limit.

    Hours, days and months are those of the calendar in UTC; a minute is any sixty seconds.
    """

    window: Window
    cost: str | None = None
    tokens: int | None = None
    requests: int | None = None


@dataclass(frozen=True, slots=True)
class BudgetSpec:
    """What a subject may use. A call is held to every budget that covers it.

    `subject` is `tenant`, `team:NAME`, `key:ID`, `user:NAME`, `route:NAME` or `tag:NAME=VALUE`. With `*` for the
    name (`team:*`, `key:*`, `route:*`, `tag:NAME=*`) each one is held to the budget apart; `key:*` means users too.
    `concurrency` is the number of calls under way. `tenant` restricts a declared budget to one tenant; without it
    each tenant is held to it apart.
    """

    name: str
    subject: str = "tenant"
    limits: tuple[Limit, ...] = ()
    concurrency: int | None = None
    tenant: str = ""


@dataclass(frozen=True, slots=True)
class Level:
    """How full one limit is. `subject` is the very one counted, such as `key:4f2a`, where the budget names `key:*`.

    `used` and `reserved` are in units of the measure (picodollars for cost). `reserved` is set aside for calls under
    way in this process; what other processes have set aside counts as used until they give it back, and what a killed
    one had taken until the window ends. `used` is above `limit` only by what calls cost beyond their reserve, or where
    the limit was lowered.
    """

    subject: str
    measure: Measure
    window: Window | None
    limit: int
    used: int
    reserved: int
    resets_at: datetime | None


@dataclass(frozen=True, slots=True)
class BudgetState:
    """A budget as it stands. `version` is 0 for one as `system.py` declares it."""

    spec: BudgetSpec
    version: int = 0
    declared: bool = True
    changed_at: datetime | None = None
    changed_by: str = ""
    levels: tuple[Level, ...] = ()


@dataclass(frozen=True, slots=True)
class Team:
    """A named set of keys and users (`key:ID`, `user:NAME`). A key is in one team at most."""

    name: str
    members: tuple[str, ...] = ()
    version: int = 0
    changed_at: datetime | None = None
    changed_by: str = ""


@dataclass(frozen=True, slots=True)
class Spend:
    """One settled call, as the ledger of spend keeps it. `key` is the caller, `team` the caller's at that moment.

    `id` names the charge: it is counted once, however often it is written. One request may make several calls, and a
    call several attempts. `price` is the version of the price; it is empty and `cost` 0 where no price was known
    (`priced` is False). It `took` so many microseconds at the model; 0 where that was not measured.
    """

    id: str
    request_id: str
    attempt: int
    at: datetime
    team: str
    key: str
    route: str
    provider: str
    model: str
    price: str
    priced: bool
    usage: Usage
    cost: int
    outcome: str
    tags: Mapping[str, str] = field(default_factory=dict)
    took: int = 0


@dataclass(frozen=True, slots=True)
class SpendPage:
    """Some rows in the order of storing; `after` continues behind them."""

    rows: tuple[Spend, ...]
    after: str


@dataclass(frozen=True, slots=True)
class UsageLine:
    """Sums over the calls of one group. `group` holds a value for each grouping asked for.

    `unpriced` counts the calls whose price was not known: they are in `requests` and not in `cost`.
    """

    group: Mapping[str, str]
    requests: int
    unpriced: int
    usage: Usage
    cost: int


@dataclass(frozen=True, slots=True)
class Invoice:
    """What a tenant, or one key of it, used from `start` to before `end` (days in UTC).

    `lines` have one entry for each key, provider, model and price version, and for each value of the `tag` if the
    invoice is made by one; `cost` is their sum.
    """

    tenant: str
    key: str
    start: date
    end: date
    made_at: datetime
    lines: tuple[UsageLine, ...]
    requests: int
    unpriced: int
    cost: int
    tag: str = ""


class Accounts(Protocol):
    """Budgets, teams, usage and invoices of the caller's tenant."""

    @action("gateway:read_budgets", effect="read", resource="Budget")
    async def budgets(self, ctx: Context) -> Sequence[BudgetState]:
        """All budgets by name, with their levels (at most 100 subjects for a budget that counts each apart)."""
        ...

    @action("gateway:read_budgets", effect="read", resource="Budget", by="name")
    async def budget(self, ctx: Context, name: str) -> BudgetState:
        """One budget. Raises NotFound."""
        ...

    @action("gateway:write_budget", effect="write", resource="Budget")
    async def put_budget(self, ctx: Context, spec: BudgetSpec, *, expected: int | None = None) -> BudgetState:
        """Make or replace a budget; it holds within a second. One of a declared name replaces that for the tenant.

        `expected` is the version to be replaced (0: none yet). Raises InvalidInput, Conflict if it is another.
        """
        ...

    @action("gateway:write_budget", effect="write", resource="Budget", by="name")
    async def delete_budget(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        """Remove a budget made at run time; one that is declared holds again. Raises NotFound, Conflict."""
        ...

    @action("gateway:read_teams", effect="read", resource="Team")
    async def teams(self, ctx: Context) -> Sequence[Team]:
        """All teams by name."""
        ...

    @action("gateway:write_team", effect="write", resource="Team")
    async def put_team(self, ctx: Context, name: str, members: Sequence[str], *, expected: int | None = None) -> Team:
        """Make a team or replace its members. Raises InvalidInput, Conflict (the version, or a member of another)."""
        ...

    @action("gateway:write_team", effect="write", resource="Team", by="name")
    async def delete_team(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        """Remove a team; what it used stays in its name. Raises NotFound, Conflict."""
        ...

    @action("gateway:read_usage", effect="read", resource="Usage")
    async def usage(
        self,
        ctx: Context,
        *,
        start: date | None = None,
        end: date | None = None,
        by: Sequence[Grouping] = ("day",),
        tag: str = "",
    ) -> Sequence[UsageLine]:
        """Sums of the days from `start` to before `end`, at most 10,000 groups, in the order of the groups.

        Without `start` from the first of the month, without `end` to now. `tag` names the tag whose value the grouping
        `tag` means (empty for calls without it); such sums are of the calls that are still kept, one by one. Raises
        InvalidInput (no day, more than 1,000 days, too many groups).
        """
        ...

    @action("gateway:complete", effect="read", resource="LanguageModel")
    async def spent(self, ctx: Context, request_id: str) -> Sequence[Spend]:
        """What one of the caller's own requests has been charged so far, in the order of settling."""
        ...

    @action("gateway:read_usage", effect="read", resource="Usage")
    async def invoice(
        self, ctx: Context, *, start: date | None = None, end: date | None = None, key: str = "", tag: str = ""
    ) -> Invoice:
        """The tenant's invoice, or one key's; days and `tag` as for `usage`. Raises InvalidInput."""
        ...

    @action("gateway:export_usage", effect="read", resource="Usage", seconds=3600)
    def export_usage(
        self,
        ctx: Context,
        *,
        start: datetime | None = None,
        end: datetime | None = None,
        after: str = "",
        rows: int = 1000,
    ) -> AsyncIterator[SpendPage]:
        """Every settled call of the time from `start` to before `end`, in pages of at most `rows` (1 to 10,000).

        Times as for `usage`. `after` of a page goes on behind it. Raises InvalidInput.
        """
        ...
