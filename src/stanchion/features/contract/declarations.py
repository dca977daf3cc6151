"""What `system.py` declares of features: sources, views with windows, transforms at request time, services."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Literal

from pydantic import BaseModel

Function = Literal["count", "sum", "mean", "min", "max", "distinct"]


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that lie somewhere: `place` is a path (with wildcards) or, for `sql`, a query.

    `connection` names the secret that holds a SQL database's address. `version` pins a Delta table's; None reads
    the newest.
    """

    format: Literal["parquet", "csv", "delta", "sql"]
    place: str
    connection: str | None = None
    version: int | None = None


@dataclass(frozen=True, slots=True)
class SourceSpec:
    """Typed rows with the column of their event time.

    `known` is the column that says when a row became known, which is later than its event time where data come
    late or are corrected; None: each row was known when it happened. `table` is None where rows are pushed only;
    pushed rows are kept, so that training sees what serving saw. `event` is the column that tells apart the events of
    one entity at one moment; None: there is never more than one. Two rows of the same entity, time and event are
    versions of one event, and the one known last counts.
    """

    name: str
    row: type[BaseModel]
    time: str
    known: str | None = None
    table: Table | None = None
    event: str | None = None


@dataclass(frozen=True, slots=True)
class Aggregate:
    """One sliding window over a source: `function` of `column` (None for count) over the last `window`.

    The window reaches back from the moment of reading, both ends as the features guide defines them, alike
    online and offline. An empty window gives 0 for count, sum and distinct, and null for the others. `hop` is the step
    by which the far end moves; None: a sixtieth of the window in whole seconds, at least one.
    """

    function: Function
    window: timedelta
    column: str | None = None
    hop: timedelta | None = None


@dataclass(frozen=True, slots=True)
class ViewSpec:
    """A declared feature view: typed rows under one entity key; `ttl` bounds how old a value may be served.

    Without a source its rows are pushed. With one, a field is a column of the source, an entry of `select` (an
    SQL expression over one row of the source) or an entry of `aggregates`. `limit` is the most events of one entity
    that its longest window may hold: with more the view reads as unknown, because windows are exact or not told.
    """

    name: str
    row: type[BaseModel]
    entity: str
    ttl: timedelta
    source: SourceSpec | None = None
    select: Mapping[str, str] = field(default_factory=dict)
    aggregates: Mapping[str, Aggregate] = field(default_factory=dict)
    limit: int = 1_000


@dataclass(frozen=True, slots=True)
class OnDemandSpec:
    """Features computed at request time, and in the same way for training sets.

    `function(inputs)` takes one mapping that holds the fields of `views` and of the request (type `request`)
    and gives an instance of `output`. It must depend on nothing else.
    """

    name: str
    views: Sequence[str]
    request: type[BaseModel] | None
    output: type[BaseModel]
    function: Callable[[Mapping[str, Any]], BaseModel]


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """The features one model reads, under a name that its versions pin: views, then transforms at request time."""

    name: str
    views: Sequence[str]
    on_demand: Sequence[str] = ()
