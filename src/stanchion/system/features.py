"""Handles of what is declared about features: sources, views, transforms at request time and services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Generic, TypeVar, get_type_hints

from pydantic import BaseModel

from ..core.context import Context
from ..core.errors import Misconfigured, NotFound
from ..core.values import Json
from ..features import (
    Aggregate,
    Features,
    OnDemandSpec,
    Row,
    ServedFeatures,
    ServiceSpec,
    SourceSpec,
    Table,
    Vector,
    ViewSpec,
    check_on_demand,
    check_service,
    check_source,
    check_view,
)
from .handles import Bound

E = TypeVar("E", bound=BaseModel)
T = TypeVar("T", bound=BaseModel)


class Source(Bound, Generic[E]):
    """A declared source: typed rows with the time of their event."""

    def __init__(
        self, name: str, row: type[E], *, time: str, known: str | None, event: str | None, table: Table | None
    ) -> None:
        super().__init__(name)
        self.spec = SourceSpec(name, row, time, known, table, event)
        self._view: ViewSpec | None = None
        check_source(self.spec)

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    def read_by(self, view: ViewSpec) -> None:
        """Note a view that reads this source: rows are pushed through the first one."""
        self._view = self._view or view

    async def push(self, ctx: Context, *rows: E) -> int:
        """Append rows to the source and bring every view over it up to date; how many were new.

        A row that was pushed before changes nothing. Raises Misconfigured if no view reads the source, and what
        `Features.push` raises.
        """
        view = self._view
        if view is None:
            raise Misconfigured(f"no feature view reads the source {self.name}", next_step="Declare a view over it.")
        door: Features = self._door(Features)
        return await door.push(ctx, view.name, [self._row(view.entity, row) for row in rows])

    def _row(self, entity: str, row: E) -> Row:
        return Row(str(getattr(row, entity)), row.model_dump(mode="json"), getattr(row, self.spec.time))


class FeatureView(Bound, Generic[E]):
    """A declared feature view: typed rows by entity key, never older than its time to live."""

    def __init__(
        self,
        name: str,
        row: type[E],
        *,
        entity: str,
        ttl: timedelta,
        source: Source[Any] | None = None,
        select: Mapping[str, str] | None = None,
        aggregates: Mapping[str, Aggregate] | None = None,
        limit: int = 1_000,
    ) -> None:
        super().__init__(name)
        self._row = row
        self.spec = ViewSpec(
            name, row, entity, ttl, source.spec if source else None, dict(select or {}), dict(aggregates or {}), limit
        )
        check_view(self.spec)
        if source is not None:
            source.read_by(self.spec)

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    async def read(self, ctx: Context, *keys: str) -> list[E]:
        """Rows in the order of the keys. Raises NotFound for an unknown key and for a stale one."""
        door: Features = self._door(Features)
        rows = []
        for reading in await door.read(ctx, self.name, keys):
            if reading.status != "present":
                raise NotFound(f"{self.name} holds no present values of {reading.key}: {reading.status}")
            rows.append(self._row.model_validate(dict(reading.values)))
        return rows


class OnDemand(Bound, Generic[T]):
    """A declared transform at request time. Called in code it is the plain function."""

    def __init__(
        self,
        name: str,
        function: Callable[[Mapping[str, Any]], T],
        *,
        views: Sequence[FeatureView[Any]],
        request: type[BaseModel] | None,
    ) -> None:
        super().__init__(name)
        output = get_type_hints(function).get("return")
        if not (isinstance(output, type) and issubclass(output, BaseModel)):
            raise Misconfigured(
                f"the transform {name} does not say what it gives",
                next_step="Annotate it as `def f(inputs: Mapping[str, Any]) -> Output`, a pydantic model.",
            )
        self._function = function
        self.spec = OnDemandSpec(name, tuple(view.name for view in views), request, output, function)
        check_on_demand(self.spec, {view.name: view.spec for view in views})

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    def __call__(self, inputs: Mapping[str, Any]) -> T:
        """What the transform makes of the inputs."""
        return self._function(inputs)


class FeatureService(Bound):
    """The declared features of one model: what it reads at request time and is trained on."""

    def __init__(
        self, name: str, views: Sequence[FeatureView[Any]], *, on_demand: Sequence[OnDemand[Any]] = ()
    ) -> None:
        super().__init__(name)
        self.spec = ServiceSpec(name, tuple(view.name for view in views), tuple(each.name for each in on_demand))
        check_service(self.spec, {view.name: view.spec for view in views}, {each.name: each.spec for each in on_demand})

    def specs(self) -> Sequence[object]:
        return (self.spec,)

    async def vectors(
        self, ctx: Context, entities: Sequence[Mapping[str, str]], *, request: Sequence[Mapping[str, Json]] = ()
    ) -> Sequence[Vector]:
        """One vector for each entity, in order. Raises what `Features.vectors` raises."""
        door: ServedFeatures = self._door(Features)
        return await door.vectors(ctx, self.name, entities, request=request)
