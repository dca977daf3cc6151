"""Pushed rows: into the log that training reads, and through the views' own text into the values that serving reads."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import FieldProblem, Misconfigured
from ...core.values import Json
from ..contract import Row, SourceSpec
from ..offline.relations import log_name
from ..ports import Log, Logged, Offline, Relation, Span
from ..rows import AHEAD, Checked, Shape, checked_values, key_faults, time_faults
from ..windows.plan import Kind, kinds_of
from ..windows.state import Occurrence
from ..windows.values import inner
from .catalogue import Catalogue
from .plans import invalid
from .values import OnlineValues

MOST = 10_000


@dataclass(frozen=True, slots=True)
class _Given:
    """A row of a source that is acceptable."""

    row: Logged
    values: Mapping[str, Json]


class Pusher:
    """Takes pushed rows. Without a `log` rows are not kept; `engine` computes `select` expressions."""

    def __init__(
        self, catalogue: Catalogue, values: OnlineValues, clock: Clock, log: Log | None, engine: Offline | None
    ) -> None:
        self._catalogue = catalogue
        self._values = values
        self._clock = clock
        self._log = log
        self._engine = engine

    async def push(self, ctx: Context, shape: Shape, rows: Sequence[Row]) -> int:
        """Store rows of a view, or of its source. Raises InvalidInput; see the contract."""
        if not 1 <= len(rows) <= MOST:
            raise invalid([FieldProblem("$.rows", f"must be 1 to {MOST} rows")])
        source = shape.spec.source
        if source is None:
            return await self._plain(ctx, shape, rows)
        return await self._sourced(ctx, shape, source, rows)

    async def _plain(self, ctx: Context, shape: Shape, rows: Sequence[Row]) -> int:
        now = self._clock.now()
        checked, faults = shape.check(rows, now)
        if faults:
            raise invalid(faults)
        if self._log is not None:
            known = micros(now)
            kept = [Logged(each.key, each.row.at, known, "", each.values) for each in checked]
            # Of one event time the first row stays, here and online: the others never were served.
            await self._log.append(ctx, log_name(shape.spec), kept, versions=False)
        return await self._values.put(ctx.tenant, shape, checked)

    async def _sourced(self, ctx: Context, shape: Shape, source: SourceSpec, rows: Sequence[Row]) -> int:
        now = self._clock.now()
        faults: list[FieldProblem] = []
        given: list[_Given] = []
        views = self._catalogue.over(source.name)
        for index, row in enumerate(rows):
            made, wrong = _given(source, shape.entity, views[0].entity, row, now, f"$.rows[{index}]")
            faults += wrong
            if made is not None:
                given.append(made)
        if faults:
            raise invalid(faults)
        new = len(given)
        if self._log is not None:
            new = await self._log.append(ctx, log_name(source), [each.row for each in given])
        for view in views:
            await self._values.put(ctx.tenant, view, await self._occurrences(view, source, given))
        return new

    async def _occurrences(self, shape: Shape, source: SourceSpec, given: Sequence[_Given]) -> Sequence[Checked]:
        """What the rows are for a view: its fields and the columns of its windows."""
        mine = [each for each in given if each.values[shape.entity] is not None]
        if not shape.spec.select:
            return [_occurrence(shape, each) for each in mine]
        if self._engine is None:
            raise Misconfigured(f"the feature view {shape.name} selects by SQL, and there is no engine for it")
        # By the engine and the text that make training sets. A row may fail its expression: then none is stored here.
        return await asyncio.to_thread(_selected, self._engine, shape, source, [each.row for each in mine])


def _selected(engine: Offline, shape: Shape, source: SourceSpec, rows: Sequence[Logged]) -> Sequence[Checked]:
    if not rows:
        return []
    times = [row.at for row in rows]
    found: list[Checked] = []
    with engine.open([Relation(shape.plan, source, None, None, kinds_of(source.row))], None) as session:
        session.take(0, rows)
        for page in session.occurrences(Span(min(times), max(times) + 1)):
            found += occurrences(shape, page)
    return found


def occurrences(shape: Shape, page: Mapping[str, Sequence[Any]]) -> Sequence[Checked]:
    """The engine's rows as the online side takes them."""
    plain = [[inner(each.kind, value) for value in page[f"p{i}"]] for i, each in enumerate(shape.plan.plain)]
    columns = [[inner(each.kind, value) for value in page[f"c{i}"]] for i, each in enumerate(shape.plan.columns)]
    made = []
    for index, (key, at, known, event) in enumerate(zip(page["k"], page["a"], page["w"], page["e"], strict=True)):
        fields = tuple(values[index] for values in plain)
        row = Occurrence(at, known, event, fields, tuple(values[index] for values in columns))
        made.append(Checked(str(key), row))
    return made


def _occurrence(shape: Shape, given: _Given) -> Checked:
    row, values = given.row, given.values
    plain = tuple(_inner(each.kind, values[each.name]) for each in shape.plan.plain)
    columns = tuple(_inner(each.kind, values[each.name]) for each in shape.plan.columns)
    return Checked(str(values[shape.entity]), Occurrence(row.at, row.known, row.event, plain, columns))


def _inner(kind: Kind, value: Json) -> Any:
    # A checked JSON value; where an engine gives text for what is no plain value, here it is the value itself.
    return value if kind == "json" else inner(kind, value)


def _given(
    source: SourceSpec, entity: str, first: str, row: Row, now: datetime, path: str
) -> tuple[_Given | None, list[FieldProblem]]:
    """The row as the log keeps it, or what is wrong with it. `first` is the entity that the log goes by."""
    faults = [*key_faults(row.key, f"{path}.key"), *time_faults(row.at, now, f"{path}.at")]
    values, wrong = checked_values(source.row, entity, row, f"{path}.values")
    faults += wrong
    if faults:
        return None, faults
    at, known = inner("moment", values[source.time]), micros(now)
    if at != micros(row.at):
        return None, [FieldProblem(f"{path}.values.{source.time}", "must be the row's `at`")]
    if source.known is not None and values[source.known] is not None:
        known = inner("moment", values[source.known])
        if known > micros(now + AHEAD):
            return None, [FieldProblem(f"{path}.values.{source.known}", "lies in the future")]
    event = "" if source.event is None or values[source.event] is None else str(values[source.event])
    return _Given(Logged(str(values[first]), at, known, event, values), values), []
