"""The gateway's contract: one call of a model, whole or streamed, and the routes that say who answers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from .batches import CallBatches
from .calls import Ask, Piece, Reply, Shape
from .cascade import Cascading
from .comparison import Comparisons
from .money import Accounts
from .operations import Operations
from .prompts import Prompts
from .specs import RouteSpec
from .tools import Tools
from .versions import RouteVersion
from .weights import Weights


@dataclass(frozen=True, slots=True)
class LanguageModel:
    """A model, or a route under its name `route:NAME`, as clients may ask for it."""

    name: str
    shapes: tuple[Shape, ...]
    upstream: str = ""
    model: str = ""
    on_premises: bool = False
    context: int | None = None
    max_output: int | None = None


@dataclass(frozen=True, slots=True)
class RungView:
    """A model of a route as it does now. `breaker` is the state of its circuit breaker and `share` the percentage of
    calls that it lets pass; `out` are the seconds for which the upstream asked to be left alone. Times are averages of
    the last calls, where newer ones weigh more; None before the first.
    """

    model: str
    upstream: str
    breaker: Literal["closed", "open", "half-open", "restoring"]
    share: int
    out: float
    calls: int
    failures: int
    latency_ms: float | None
    first_token_ms: float | None


@dataclass(frozen=True, slots=True)
class RouteView:
    """A route: its declaration, its version (0: as in the system's file) and its rungs."""

    spec: RouteSpec
    version: int
    rungs: tuple[RungView, ...]


@dataclass(frozen=True, slots=True)
class PlannedRung:
    """What a call would find at one model. `refused` says why it would not be asked; empty: it would be.

    `cost` is the most that the call may cost there in picodollars, None where no price is known.
    """

    model: str
    upstream: str
    refused: str
    cost: int | None
    passed_through: bool


@dataclass(frozen=True, slots=True)
class Plan:
    """Which models a call would be sent to, in order. Tokens are estimates."""

    route: str
    version: int
    tokens_in: int
    tokens_out: int
    rungs: tuple[PlannedRung, ...]


class Routing(Protocol):
    """Routes: what they are, and how they are changed while the system runs."""

    @action("gateway:read", effect="read", resource="LanguageModel")
    async def models(self, ctx: Context) -> Sequence[LanguageModel]:
        """What clients may ask for, by name; routes come last."""
        ...

    @action("gateway:read", effect="read", resource="Route")
    async def routes(self, ctx: Context) -> Sequence[RouteView]:
        """The caller's tenant's routes by name: the declared ones, and those that were put since."""
        ...

    @action("gateway:route", effect="write", resource="Route", by="name")
    async def put_route(self, ctx: Context, name: str, spec: RouteSpec, *, version: int) -> RouteView:
        """Make or replace a route of the caller's tenant; `version` is the present one (0: none, or as declared).

        Raises Conflict if it is another one by now, InvalidInput for a route that cannot be.
        """
        ...

    @action("gateway:route", effect="write", resource="Route", by="name")
    async def drop_route(self, ctx: Context, name: str, *, version: int) -> None:
        """Take back what was put: the declared route of that name, if there is one, holds again.

        Raises NotFound, Conflict.
        """
        ...

    @action("gateway:read", effect="read", resource="Route", by="name")
    async def route_versions(
        self, ctx: Context, name: str, *, limit: int = 100, before: int | None = None
    ) -> Sequence[RouteVersion]:
        """The versions of a route of the caller's tenant, newest first, at most 1,000; with `before` those of a lower
        number.

        The declared one comes last. Raises NotFound for a route that there never was, InvalidInput.
        """
        ...

    @action("gateway:route", effect="write", resource="Route", by="name")
    async def restore_route(self, ctx: Context, name: str, restored: int, *, version: int) -> RouteView:
        """Bring back a former version, as a new one; 0 takes back what was put, so that the declared route holds.

        `version` is the present one (0: none, or as declared). `plan` with `version` tells beforehand what would
        become of a call. Raises NotFound for a version that there is not, Conflict if the present one is another by
        now, InvalidInput for one that cannot hold now.
        """
        ...


class Gateway(Routing, Operations, Accounts, Comparisons, Prompts, Cascading, Weights, Tools, CallBatches, Protocol):
    """One door to every language, embedding and rerank model."""

    @action("gateway:complete", effect="read", resource="LanguageModel")
    async def complete(self, ctx: Context, ask: Ask) -> Reply:
        """The whole answer in the shape of the call, and what it cost.

        Raises NotFound for an unknown model, InvalidInput, BudgetExceeded, DeadlineExceeded, and Unavailable with
        every model that was tried and its reason. What was tried and failed is never billed twice.
        """
        ...

    @action("gateway:complete", effect="read", resource="LanguageModel")
    def stream(self, ctx: Context, ask: Ask) -> AsyncIterator[Piece]:
        """The answer's events as they come. The first piece tells who answers, the last one has the account.

        Until the first piece it raises what `complete` does and other models are tried. Afterwards a broken answer
        ends in an error event of the shape, then raises Unavailable: it never looks whole.
        """
        ...

    @action("gateway:read", effect="read", resource="LanguageModel")
    async def plan(self, ctx: Context, ask: Ask, *, version: int | None = None) -> Plan:
        """What would become of the call, without making it; with `version`, under that version of the route it asks.

        Raises NotFound, InvalidInput.
        """
        ...
