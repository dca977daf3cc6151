"""How the features are: how fresh, how often null, whether training sees the same, and what they come from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json

NodeKind = Literal["source", "column", "view", "field", "request", "transform", "service", "model"]


@dataclass(frozen=True, slots=True)
class FieldHealth:
    """One feature of a view. `null_rate` is the share of nulls among present values read lately; None: none were."""

    name: str
    kind: str
    null_rate: float | None
    state: Literal["ok", "nulls", "unread"]
    reason: str


@dataclass(frozen=True, slots=True)
class ViewHealth:
    """One view. `newest` is the newest event time that was written; rates are shares of the keys read lately.

    `late` says that the newest event is past half the view's time to live, `stale` that it is past all of it,
    `missing` that too many readers get no present value, `empty` that nothing was ever written.
    """

    view: str
    state: Literal["fresh", "late", "stale", "missing", "empty"]
    reason: str
    newest: datetime | None
    age_seconds: float | None
    ttl_seconds: float
    reads: int
    stale_rate: float | None
    unknown_rate: float | None
    fields: Sequence[FieldHealth]


@dataclass(frozen=True, slots=True)
class SkewExample:
    """One difference: what a prediction used, and what the offline join gives for that moment."""

    request_id: str
    read_at: datetime
    served: Json
    joined: Json


@dataclass(frozen=True, slots=True)
class FieldSkew:
    """One feature's comparison, with at most five examples."""

    name: str
    compared: int
    different: int
    examples: Sequence[SkewExample]


@dataclass(frozen=True, slots=True)
class SkewReport:
    """Logged vectors against the offline join. `other` vectors were made by an older definition and left out."""

    service: str
    fingerprint: str
    compared: int
    different: int
    other: int
    first: datetime | None
    last: datetime | None
    fields: Sequence[FieldSkew]


@dataclass(frozen=True, slots=True)
class Node:
    """A thing in a lineage. `id` is `kind:name`; `detail` is the text that makes it, where there is one."""

    id: str
    kind: NodeKind
    name: str
    detail: str = ""


@dataclass(frozen=True, slots=True)
class Lineage:
    """What a service's features come from. An edge leads from what is read to what is made of it."""

    service: str
    fingerprint: str
    nodes: Sequence[Node]
    edges: Sequence[tuple[str, str]]


class MonitoredFeatures(Protocol):
    """The state of the caller's tenant's features."""

    @action("features:read", effect="read", resource="FeatureView")
    async def health(self, ctx: Context) -> Sequence[ViewHealth]:
        """Every view's freshness and null rates, by name, over what this process has read in the last hour or two."""
        ...

    @action("features:skew", effect="read", resource="FeatureService", by="service", seconds=600)
    async def skew(self, ctx: Context, service: str, *, limit: int = 1_000) -> SkewReport:
        """The newest logged vectors (1 to 10,000) compared with the offline join as it was known at their moments.

        Raises NotFound, InvalidInput, Unavailable (the offline side cannot be read).
        """
        ...

    @action("features:read", effect="read", resource="FeatureService", by="service")
    async def lineage(self, ctx: Context, service: str) -> Lineage:
        """From the columns of sources through fields and transforms to the service. Raises NotFound."""
        ...
