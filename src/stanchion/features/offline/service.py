"""Point-in-time joins: a service's features as they were at the time of each row of a spine."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from ...core.context import Context
from ...core.errors import InvalidInput, NotFound
from ..contract import ServiceSpec
from ..ports import Joined, Log, Offline, Relation, Session, Span
from ..transforms import Transform
from .horizon import check_kept
from .relations import Relations, log_name
from .spine import Limits, Spine, read_spine, request_fields

if TYPE_CHECKING:
    import pyarrow

T = TypeVar("T")
_BATCH = 65_536
_AGAIN = 0.05


class Historical:
    """Makes training sets. One join at a time uses the engine; the others wait."""

    def __init__(
        self,
        services: Sequence[ServiceSpec],
        transforms: dict[str, Transform],
        *,
        relations: Relations,
        engine: Offline,
        limits: Limits,
    ) -> None:
        self._services = {spec.name: spec for spec in services}
        self._transforms = transforms
        self._relations = relations
        self._engine = engine
        self._limits = limits
        self._turn = asyncio.Lock()

    async def historical(
        self,
        ctx: Context,
        service: str,
        spine: bytes,
        *,
        time: str,
        as_of: Literal["known", "event"] = "known",
        status: bool = False,
    ) -> AsyncIterator[bytes]:
        """As `OfflineFeatures.historical`. Raises what it raises."""
        relations, transforms = await self._parts(ctx, service)
        entities = list(dict.fromkeys(relation.plan.entity for relation in relations))
        features = [field for relation in relations for field in relation.plan.fields]
        features += [field for transform in transforms for field in transform.fields]
        features += [status_column(relation.plan.name) for relation in relations if status]
        async with self._turn:
            given = await asyncio.to_thread(
                read_spine, spine, time=time, entities=entities, features=features, limits=self._limits
            )
            asked = await asyncio.to_thread(request_fields, given, transforms)
            joined = await self._joined(ctx, given, relations, late=as_of == "known", status=status)
            made = await asyncio.to_thread(_computed, given, relations, joined, transforms, asked)
        pieces = _pieces(made)
        while (piece := await asyncio.to_thread(next, pieces, None)) is not None:
            yield piece

    async def _parts(self, ctx: Context, service: str) -> tuple[list[Relation], list[Transform]]:
        spec = self._services.get(service)
        if spec is None:
            raise NotFound(f"no feature service is declared as {service!r}")
        relations = [await self._relations.of(ctx, view) for view in spec.views]
        return relations, [self._transforms[name] for name in spec.on_demand]

    async def _joined(
        self, ctx: Context, spine: Spine, relations: Sequence[Relation], *, late: bool, status: bool
    ) -> Sequence[Joined]:
        span = needed(spine, relations, status=status)
        keys = [relation.plan.entity for relation in relations]
        with ExitStack() as stack:
            session = await asyncio.to_thread(stack.enter_context, self._engine.open(relations, span))
            for number, relation in enumerate(relations):
                await filled(session, number, relation, self._relations.log, ctx.tenant, span)
            await check_kept(self._relations.log, ctx.tenant, spine, relations, status=status)
            return await interruptible(
                session, lambda: session.history(spine.table, keys, spine.time, late=late, status=status)
            )


async def filled(session: Session, number: int, relation: Relation, log: Log, tenant: str, span: Span) -> None:
    """Give the session the pushed rows of a relation."""
    name = log_name(relation.plan.spec)
    async for page in log.read(tenant, name, start=span.start, end=span.end):
        await asyncio.to_thread(session.take, number, page)


async def interruptible(session: Session, work: Callable[[], T]) -> T:
    """What the work gives. If the caller leaves, the engine is stopped before the session can be closed."""
    task = asyncio.ensure_future(asyncio.to_thread(work))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            # A query that has not begun yet does not hear of it: so again, until the work has ended.
            session.stop()
            await asyncio.wait([task], timeout=_AGAIN)
        await asyncio.gather(task, return_exceptions=True)
        raise


def needed(spine: Spine, relations: Sequence[Relation], *, status: bool = False) -> Span:
    """The stretch of event time that can matter to the spine: no more of a table is read.

    To tell a stale entity from an unknown one, rows matter for as long as they are remembered online.
    """
    if spine.first is None or spine.last is None:
        return Span(0, 0)
    first = spine.first
    starts = [first - (relation.plan.memory if status else relation.plan.ttl) for relation in relations]
    starts += [relation.plan.reach(first) for relation in relations if relation.plan.groups]
    return Span(min(starts), spine.last + 1)


def _computed(
    spine: Spine,
    relations: Sequence[Relation],
    joined: Sequence[Joined],
    transforms: Sequence[Transform],
    asked: Sequence[Sequence[dict[str, Any]]],
) -> pyarrow.Table:
    """The spine with all features behind its columns, and behind them what each view says where that was asked for."""
    table = spine.table
    for part in joined:
        for name in part.fields.column_names:
            table = table.append_column(name, part.fields[name])
    by_view = {relation.plan.name: part for relation, part in zip(relations, joined, strict=True)}
    for transform, requests in zip(transforms, asked, strict=True):
        table = _transformed(table, transform, requests, [by_view[view] for view in transform.views])
    for relation, part in zip(relations, joined, strict=True):
        if part.status is not None:
            table = table.append_column(status_column(relation.plan.name), part.status)
    return table


def _transformed(
    table: pyarrow.Table,
    transform: Transform,
    requests: Sequence[dict[str, Any]],
    views: Sequence[Joined],
) -> pyarrow.Table:
    """The table with the transform's output. It is called where all its views are present, as it is online."""
    import pyarrow

    rows: list[dict[str, Any]] = [{} for _ in requests]
    known = [True] * len(requests)
    for part in views:
        present = part.present.to_pylist()
        for index, row in enumerate(part.fields.to_pylist()):
            known[index] &= present[index]
            rows[index].update(row)
    made = [
        transform.compute(row, request) if there else transform.none()
        for row, request, there in zip(rows, requests, known, strict=True)
    ]
    for name, kind in transform.fields.items():
        try:
            column = pyarrow.array([row[name] for row in made], arrow_type(kind))
        except pyarrow.ArrowException as error:
            raise InvalidInput(f"the output {name} of the transform {transform.name} is no {kind}: {error}") from error
        table = table.append_column(name, column)
    return table


def status_column(view: str) -> str:
    """The column that holds what a view says of each row. No field can have this name."""
    return f"status:{view}"


def arrow_type(kind: str) -> pyarrow.DataType | None:
    """The Arrow type of a transform's output by its JSON types; None lets the values tell."""
    import pyarrow

    types = {
        "integer": pyarrow.int64(),
        "number": pyarrow.float64(),
        "boolean": pyarrow.bool_(),
        "string": pyarrow.string(),
    }
    wanted = [option for option in kind.split("|") if option != "null"]
    return types.get(wanted[0]) if len(wanted) == 1 else None


def _pieces(table: pyarrow.Table) -> Iterator[bytes]:
    """The table as one Arrow IPC stream, in pieces."""
    import pyarrow

    buffer = _Buffer()
    with pyarrow.ipc.new_stream(pyarrow.PythonFile(buffer, mode="w"), table.schema) as stream:
        for batch in table.to_batches(max_chunksize=_BATCH):
            stream.write_batch(batch)
            yield buffer.take()
    if rest := buffer.take():
        yield rest


class _Buffer:
    """A file that is emptied from the other side."""

    closed = False

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def write(self, content: bytes) -> int:
        """Keep a copy of the content, which is the writer's own memory."""
        made = bytes(content)
        self._held.append(made)
        return len(made)

    def flush(self) -> None:
        """Nothing is buffered below."""

    def close(self) -> None:
        """What was written stays until it is taken."""

    def take(self) -> bytes:
        """All that was written since the last call."""
        found = b"".join(self._held)
        self._held.clear()
        return found
