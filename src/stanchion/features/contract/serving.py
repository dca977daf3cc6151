"""What a model reads at request time: one vector for each entity, and what became of each value."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json

Status = Literal["present", "stale", "unknown"]


@dataclass(frozen=True, slots=True)
class Vector:
    """A service's features of one entity. `status` and `at` (event time) are by view.

    The fields of a stale or unknown view are None: what then happens is the reader's declared policy.
    """

    values: Mapping[str, Json]
    status: Mapping[str, Status]
    at: Mapping[str, datetime | None]


@dataclass(frozen=True, slots=True)
class Service:
    """A feature service in the catalogue. `fingerprint` changes with any definition that it reads.

    `entities` are the keys a reader must give, `request` the further fields, `fields` the features with JSON types.
    `origins` tells for each feature the view or the transform that gives it, `reads` for each transform its views.
    """

    name: str
    fingerprint: str
    views: Sequence[str]
    on_demand: Sequence[str]
    entities: Sequence[str]
    request: Sequence[str]
    fields: Mapping[str, str]
    origins: Mapping[str, str]
    reads: Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True)
class Logged:
    """A vector as a prediction used it, kept so that it can be compared with the offline join later."""

    request_id: str
    entities: Mapping[str, str]
    request: Mapping[str, Json]
    values: Mapping[str, Json]
    read_at: datetime


class ServedFeatures(Protocol):
    """Feature services of the caller's tenant."""

    @action("features:read", effect="read", resource="FeatureService")
    async def services(self, ctx: Context) -> Sequence[Service]:
        """The declared services, by name."""
        ...

    @action("features:read", effect="read", resource="FeatureService", by="service")
    async def vectors(
        self,
        ctx: Context,
        service: str,
        entities: Sequence[Mapping[str, str]],
        *,
        request: Sequence[Mapping[str, Json]] = (),
    ) -> Sequence[Vector]:
        """One vector for each of 1 to 1,000 entities, in order; `request` has the request-time fields for each.

        Raises NotFound (no such service), InvalidInput with the path of what is missing or of the wrong type.
        """
        ...

    @action("features:log", effect="read", resource="FeatureService", by="service")
    async def log(self, ctx: Context, service: str, logged: Sequence[Logged]) -> None:
        """Keep vectors for the skew monitor; returns when they are queued, and drops the oldest under pressure."""
        ...
