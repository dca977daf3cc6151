"""Compares what predictions used with what the offline join gives for the same moments, feature by feature."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal, Protocol

from ...core.context import Context
from ...core.errors import InvalidInput, Misconfigured, Unavailable
from ...core.values import Json
from ..contract import FieldSkew, SkewExample, SkewReport
from ..online.plans import Plan
from ..windows.plan import Kind, kinds_of
from ..windows.values import inner
from .log import Kept, VectorLog

_MOST = 10_000
_EXAMPLES = 5
_TIME = "served_at"


class Historical(Protocol):
    """The offline join, as the contract has it."""

    def __call__(
        self, ctx: Context, service: str, spine: bytes, *, time: str, as_of: Literal["known", "event"] = "known"
    ) -> AsyncIterator[bytes]: ...


@dataclass(slots=True)
class _Tally:
    compared: int = 0
    different: int = 0
    examples: list[SkewExample] = field(default_factory=list)


class Skew:
    """The monitor over the log of served vectors. Without a log or an offline side there is nothing to compare."""

    def __init__(self, log: VectorLog | None, historical: Historical | None) -> None:
        self._log = log
        self._historical = historical

    async def report(self, ctx: Context, plan: Plan, limit: int) -> SkewReport:
        """The comparison of the newest vectors. Raises InvalidInput, Unavailable."""
        if not 1 <= limit <= _MOST:
            raise InvalidInput(f"limit must be 1 to {_MOST}")
        if self._log is None or self._historical is None:
            raise Unavailable("this process has no offline side to compare with")
        await self._log.flush()
        found = await self._log.newest(ctx.tenant, plan.name, limit)
        mine = [each for each in found if each.fingerprint == plan.service.fingerprint]
        if not mine:
            return self._made(plan, [], {}, 0, len(found))
        joined = await self._joined(ctx, plan, mine)
        kinds = _kinds(plan)
        tallies = {name: _Tally() for name in plan.service.fields}
        different = 0
        for each, row in zip(mine, joined, strict=True):
            wrong = [name for name in tallies if _compare(tallies[name], each, name, row.get(name), kinds[name])]
            different += bool(wrong)
        return self._made(plan, mine, tallies, different, len(found) - len(mine))

    async def _joined(self, ctx: Context, plan: Plan, kept: Sequence[Kept]) -> list[dict[str, Any]]:
        """What the offline join gives for each vector's moment, in their order."""
        if self._historical is None:
            raise Unavailable("this process has no offline side to compare with")
        spine = _spine(plan, kept)
        pieces = [piece async for piece in self._historical(ctx, plan.name, spine, time=_TIME)]
        rows: list[dict[str, Any]] = _arrow().ipc.open_stream(b"".join(pieces)).read_all().to_pylist()
        return rows

    @staticmethod
    def _made(
        plan: Plan, kept: Sequence[Kept], tallies: Mapping[str, _Tally], different: int, other: int
    ) -> SkewReport:
        times = [each.logged.read_at for each in kept]
        fields = [
            FieldSkew(name, tally.compared, tally.different, tuple(tally.examples)) for name, tally in tallies.items()
        ]
        return SkewReport(
            plan.name,
            plan.service.fingerprint,
            len(kept),
            different,
            other,
            min(times, default=None),
            max(times, default=None),
            fields,
        )


def _spine(plan: Plan, kept: Sequence[Kept]) -> bytes:
    pyarrow = _arrow()
    columns: dict[str, Any] = {
        name: pyarrow.array([each.logged.entities.get(name) for each in kept], pyarrow.string())
        for name in plan.entities
    }
    for name in plan.service.request:
        columns[name] = pyarrow.array([each.logged.request.get(name) for each in kept])
    moments = [each.logged.read_at.astimezone(UTC) for each in kept]
    columns[_TIME] = pyarrow.array(moments, pyarrow.timestamp("us", tz="UTC"))
    table = pyarrow.table(columns)
    sink = pyarrow.BufferOutputStream()
    with pyarrow.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    content: bytes = sink.getvalue().to_pybytes()
    return content


def _kinds(plan: Plan) -> dict[str, Kind]:
    """The kind of each feature, by which a served JSON value and a joined Arrow value become the same."""
    kinds: dict[str, Kind] = {}
    for shape in plan.shapes:
        kinds |= {name: shape.plan.kinds[name] for name in shape.features}
    for transform in plan.transforms:
        kinds |= kinds_of(transform.spec.output)
    return kinds


def _compare(tally: _Tally, kept: Kept, name: str, joined: Any, kind: Kind) -> bool:
    """Count one value; whether it differs."""
    served = kept.logged.values.get(name)
    tally.compared += 1
    if _same(_plain(kind, served), _plain(kind, joined)):
        return False
    tally.different += 1
    if len(tally.examples) < _EXAMPLES:
        shown = joined.isoformat() if isinstance(joined, datetime) else _json(joined)
        tally.examples.append(SkewExample(kept.logged.request_id, kept.logged.read_at, served, shown))
    return True


def _plain(kind: Kind, value: Any) -> Any:
    try:
        return value if kind == "json" else inner(kind, value)
    except (TypeError, ValueError):
        return value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, float) and isinstance(other, float):
        # Windows are exact; a transform may add in another order.
        return one == other or math.isclose(one, other, rel_tol=1e-9)
    return bool(one == other)


def _json(value: Any) -> Json:
    return value if isinstance(value, str | int | float | bool | list | dict) or value is None else str(value)


def _arrow() -> Any:
    try:
        import pyarrow.ipc
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "the skew monitor needs the extra `features`", next_step="Run `pip install 'stanchion[features]'`."
        ) from error
    return pyarrow
