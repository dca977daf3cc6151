"""What the gateway needs: forms of clients, dialects of upstreams, a way to reach them, prices and purses."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence, Set
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from ..core.context import Context
from ..core.values import Json
from .contract.calls import Ask, Usage
from .contract.cascade import CascadeReport, KeptReport
from .contract.specs import RouteSpec
from .contract.tools import ToolAnswer, ToolView
from .wire.conversation import Answer, Conversation, Step


class Renderer(Protocol):
    """Writes the steps of one streamed answer in a client's form."""

    def step(self, step: Step) -> bytes:
        """The bytes of server-sent events that tell of the step; may be empty."""
        ...

    def end(self) -> bytes:
        """The last bytes, after every step; only for an answer that ended."""
        ...

    def fail(self, problem: Mapping[str, object]) -> bytes:
        """An error event in the client's form: nobody may take what came so far for a whole answer."""
        ...


class Form(Protocol):
    """The form of a client's requests and answers, such as OpenAI's chat completions."""

    def parse(self, ask: Ask) -> Conversation:
        """Raises InvalidInput with the field's path."""
        ...

    def whole(self, answer: Answer, *, asked: Conversation, model: str) -> bytes:
        """The answer as a JSON document. `model` is the name that the client asked for."""
        ...

    def renderer(self, *, asked: Conversation, model: str) -> Renderer:
        """For one streamed answer."""
        ...


class Reader(Protocol):
    """Reads one streamed answer of an upstream."""

    def feed(self, data: bytes) -> Iterable[Step]:
        """The steps that these bytes complete, to be gone through once. Raises Unavailable at the place of what is not
        the dialect's stream, behind the steps before it."""
        ...

    def close(self) -> Sequence[Step]:
        """The steps that the end of the bytes completes. The answer is whole only if an `Ended` was among all."""
        ...


@dataclass(frozen=True, slots=True)
class Wire:
    """A request to an upstream. `path` is appended to its base URL; `body` is signed as it is, where it is signed."""

    path: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=dict)


class Dialect(Protocol):
    """How one family of upstreams wants to be asked, and how it answers."""

    def request(self, asked: Conversation, model: str) -> Wire:
        """Raises InvalidInput for what the upstream cannot do."""
        ...

    def answer(self, body: bytes) -> Answer:
        """Raises Unavailable for a document that is no answer of this dialect."""
        ...

    def reader(self) -> Reader:
        """For one streamed answer."""
        ...


class Response(Protocol):
    """An upstream's answer whose head has come."""

    status: int
    headers: Mapping[str, str]

    async def read(self) -> bytes:
        """The whole body, within the limit of size. Raises Unavailable where it is cut off."""
        ...

    def pieces(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises Unavailable where it is cut off."""
        ...


class Transport(Protocol):
    """Reaches one upstream over HTTP."""

    def send(self, ctx: Context, wire: Wire) -> AbstractAsyncContextManager[Response]:
        """POST it. Raises Unavailable where no connection is made, DeadlineExceeded with the caller's time."""
        ...

    async def probe(self, ctx: Context, path: str) -> int:
        """The status of a GET of the path. Raises Unavailable, DeadlineExceeded."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...


class Price(Protocol):
    """What one model costs, as of one version of the price table."""

    version: str

    def cost(self, usage: Usage) -> int:
        """Picodollars, rounded up."""
        ...


class Prices(Protocol):
    """The table of prices."""

    def price(self, provider: str, model: str) -> Price | None:
        """None where the model has no known price."""
        ...


class Reserve(Protocol):
    """Money and tokens set aside for one call under way."""

    @property
    def most(self) -> int:
        """Picodollars."""
        ...


class Purse(Protocol):
    """Holds every call to the budgets of its tenant, team and key."""

    async def reserve(
        self,
        ctx: Context,
        *,
        provider: str,
        model: str,
        tokens: int,
        most: int,
        tags: Mapping[str, str],
        route: str = "",
        attempt: int = 0,
        priced: bool = True,
    ) -> Reserve:
        """Set `most` picodollars and `tokens` aside in every budget that covers the call, in all or in none.

        `attempt` tells the reserves of one request apart. Where no price is known (`priced` is False) a budget of
        cost refuses the call. Raises BudgetExceeded with the seconds until it would fit, and the budget's name.
        """
        ...

    async def settle(
        self,
        ctx: Context,
        reserve: Reserve,
        usage: Usage,
        *,
        price: Price | None,
        outcome: str,
        provider: str = "",
        model: str = "",
    ) -> int:
        """Replace the reserve by what the call cost, for good; the picodollars. May be called again without counting
        twice. `provider` and `model` are who answered, where that is another than who was reserved for."""
        ...

    async def release(self, ctx: Context, reserve: Reserve) -> None:
        """Give the reserve back: nothing was used."""
        ...


@dataclass(frozen=True, slots=True)
class StoredRoute:
    """A version of a route as it was put; `spec` is None where the route was taken back."""

    version: int
    spec: RouteSpec | None
    changed_at: datetime
    changed_by: str


class RouteStore(Protocol):
    """Keeps the routes that tenants put at run time, every version of them."""

    async def load(self) -> Mapping[tuple[str, str], tuple[int, RouteSpec | None]]:
        """The newest version of each, by tenant and name; None for one that was taken back."""
        ...

    async def changes(self) -> int:
        """A number that grows with every change of any process."""
        ...

    async def put(self, ctx: Context, name: str, spec: RouteSpec | None, *, after: int) -> int:
        """Keep a new version behind `after`, the newest one (0: none); its number. Raises Conflict."""
        ...

    async def versions(self, ctx: Context, name: str, *, limit: int, before: int | None) -> Sequence[StoredRoute]:
        """Versions of a route of the caller's tenant, newest first; with `before` those with a lower number."""
        ...


class ReportStore(Protocol):
    """Keeps what calibrations found."""

    async def keep(self, ctx: Context, cascade: str, report: CascadeReport) -> None:
        """Keep a report of the caller's tenant, made now."""
        ...

    async def newest(self, ctx: Context) -> Sequence[KeptReport]:
        """The tenant's newest report of each cascade, by the cascade's name."""
        ...


class DrainStore(Protocol):
    """Keeps which upstreams are drained."""

    async def load(self) -> Set[tuple[str, str]]:
        """Tenant and upstream of each that is drained now."""
        ...

    async def changes(self) -> int:
        """A number that grows with every change of any process."""
        ...

    async def put(self, ctx: Context, upstream: str, *, drained: bool) -> None:
        """Keep a change of the caller's tenant. Raises Conflict where another is made at the same moment."""
        ...


class ToolSource(Protocol):
    """A server of tools."""

    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        """Every tool it has. Raises Unavailable, DeadlineExceeded."""
        ...

    async def call(self, ctx: Context, name: str, arguments: Mapping[str, Json]) -> ToolAnswer:
        """Call a tool by its name at the server, once. Raises InvalidInput, NotFound, Unavailable, DeadlineExceeded."""
        ...

    async def close(self) -> None:
        """Close the connections."""
        ...
