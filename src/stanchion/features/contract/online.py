"""The feature store's online side: the newest values of an entity, and never older than their view allows."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json


@dataclass(frozen=True, slots=True)
class Row:
    """Values of one entity as of event time `at`."""

    key: str
    values: Mapping[str, Json]
    at: datetime


@dataclass(frozen=True, slots=True)
class Reading:
    """What a view knows of one entity. `status` is present, stale (past its TTL, values withheld) or unknown."""

    key: str
    status: str
    values: Mapping[str, Json]
    at: datetime | None


@dataclass(frozen=True, slots=True)
class Written:
    """Values of a view were written. No `keys`: any of them may have changed."""

    view: str
    keys: Sequence[str]


@dataclass(frozen=True, slots=True)
class View:
    """A view in the catalogue; `fields` maps names to JSON types. Without `source` its rows are pushed as they are."""

    name: str
    entity: str
    ttl_seconds: float
    fields: Mapping[str, str]
    source: str | None = None


class OnlineFeatures(Protocol):
    """Online feature values of the caller's tenant."""

    @action("features:write", effect="write", resource="FeatureView", by="view")
    async def push(self, ctx: Context, view: str, rows: Sequence[Row]) -> int:
        """Store rows (1 to 10,000); how many were newer than what was held: older event times never win.

        All rows are checked first: one bad row refuses the whole push. Raises NotFound, InvalidInput.

        Into a view with a source go rows of the source: they are kept in its log, and every view over the source is
        brought up to date by the text that training sets are made with. The answer then counts the rows that the
        log did not hold: the same event (key and event time) with nothing newly known counts once.
        """
        ...

    @action("features:read", effect="read", resource="FeatureView", by="view")
    async def read(self, ctx: Context, view: str, keys: Sequence[str]) -> Sequence[Reading]:
        """One reading for each key (1 to 1,000), in order. Raises NotFound, InvalidInput."""
        ...

    @action("features:read", effect="read", resource="FeatureView")
    def changes(self, ctx: Context) -> AsyncIterator[Written]:
        """Every write of online values from now on, without end: what a cache over features is emptied by.

        The first item names no view: from it on none is missed. Writes of this process are told at once and by key,
        those of others within the setting `poll_seconds` and by view. A follower that falls behind is told by view.
        Raises Unavailable when the feature store stops.
        """
        ...

    @action("features:read", effect="read", resource="FeatureView")
    async def views(self, ctx: Context) -> Sequence[View]:
        """The declared views, by name."""
        ...
