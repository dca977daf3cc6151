"""The rungs of a served model: its graphs, or its Python function, then its rule and its default."""

from __future__ import annotations

import inspect
import logging
import time
import traceback
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from statistics import median
from typing import Any, Protocol, TypeVar

import pydantic

from ..core.context import Context
from ..core.errors import StanchionError, Unavailable
from ..core.resilience import Decline
from ..core.values import Json
from .contract import ServedSpec
from .drill.faults import Faults
from .memory import Resident
from .package import Outcomes
from .pool import Threads
from .ports import Graph

In = TypeVar("In")
Out = TypeVar("Out")
Batch = Sequence[Any]
Answers = Sequence[Mapping[str, Json]]
Call = Callable[[Context, Batch], Awaitable[Answers]]
Typed = Callable[[Any], pydantic.BaseModel]
_WARM = 15
_MANY = 256
log = logging.getLogger(__name__)


class Rows(Protocol):
    """Gives admitted instances as rows of a graph."""

    def row(self, item: Any) -> list[float]:
        """The columns of one instance, in order."""
        ...


@dataclass(frozen=True, slots=True)
class Pace:
    """What a graph costs, measured: seconds of a run of one row, and of each row in a large run."""

    run: float
    row: float

    def rows_within(self, seconds: float) -> int:
        """How many rows may run on the event loop if it shall not be held longer; 0 if not even one."""
        return 0 if self.run >= seconds else max(1, int(seconds / max(self.row, 1e-9)))


@dataclass(frozen=True, slots=True)
class Running:
    """A graph of a version and how fast it is."""

    graph: Graph
    pace: Pace


def warmed(graph: Graph, outcomes: Outcomes, columns: int) -> Pace:
    """Run synthetic rows until the engine has made its plans, and say how fast it is then. Blocks.

    Raises whatever the graph raises, and Unavailable if its answers are no probabilities.
    """
    one = [[0.0] * columns]
    outcomes.of(graph.probabilities(one))
    single = median(_seconds(graph, one) for _ in range(_WARM))
    return Pace(run=single, row=_seconds(graph, one * _MANY) / _MANY)


def _seconds(graph: Graph, rows: Sequence[Sequence[float]]) -> float:
    # A stopwatch, not a clock: what the machine needs is not what a test's clock says.
    started = time.perf_counter()
    graph.probabilities(rows)
    return time.perf_counter() - started


def graph_call(
    resident: Resident[Running], name: str, intake: Rows, outcomes: Outcomes, *, pool: Threads, inline_rows: int
) -> Call:
    """A rung that runs a graph, loaded first if it is out of memory: on the event loop up to `inline_rows`, in a
    thread beyond."""
    row, outcome = intake.row, outcomes.of

    async def call(ctx: Context, items: Batch) -> Answers:
        rows = [row(item) for item in items]
        run = (resident.graphs or await resident.back())[name].graph.probabilities
        resident.enter()
        try:
            return outcome(run(rows) if len(rows) <= inline_rows else await pool.run(run, rows))
        finally:
            resident.leave()

    return call


def function_call(spec: ServedSpec, *, pool: Threads) -> Call:
    """A rung that calls the declared function with typed instances; a plain function runs in a thread."""
    function = spec.function
    if function is None:
        raise Unavailable(f"{spec.name} declares no function")
    waits = inspect.iscoroutinefunction(function)
    # Who asks for the caller's Context can call other models, with the caller's rights, deadline and trace.
    asks = "ctx" in inspect.signature(function).parameters

    async def call(ctx: Context, items: Batch) -> Answers:
        bound = partial(function, ctx=ctx) if asks else function
        given = await bound(items) if waits else await pool.run(bound, items)
        if not isinstance(given, Sequence) or len(given) != len(items):
            raise Unavailable(f"the function of {spec.name} did not give one outcome for each instance")
        return [_dumped(spec, outcome) for outcome in given]

    return call


def rule_call(spec: ServedSpec, typed: Typed) -> Call:
    """A rung that asks the declared rule; it declines the call if it has no answer for one of the instances."""
    rule = spec.rule
    if rule is None:
        raise Unavailable(f"{spec.name} declares no rule")

    async def call(ctx: Context, items: Batch) -> Answers:
        answers = []
        for item in items:
            outcome = rule(typed(item))
            if outcome is None:
                raise Decline(f"the rule of {spec.name} does not apply")
            answers.append(_dumped(spec, outcome))
        return answers

    return call


def default_call(spec: ServedSpec) -> Call:
    """A rung that always gives the declared default."""
    if spec.default is None:
        raise Unavailable(f"{spec.name} declares no default")
    answer = _dumped(spec, spec.default)

    async def call(ctx: Context, items: Batch) -> Answers:
        return [answer] * len(items)

    return call


def watched(
    model: str, rung: str, call: Callable[[Context, In], Awaitable[Out]], *, faults: Faults, limit: float
) -> Callable[[Context, In], Awaitable[Out]]:
    """The call, with every failure that is not of our error tree logged: the ladder shows codes only.

    A drill strikes here; the longest that it lets a call hang is `limit` seconds.
    """

    async def logged(ctx: Context, items: In) -> Out:
        try:
            if faults.any:
                await faults.strike(ctx, model, rung, limit=limit)
            return await call(ctx, items)
        except (StanchionError, Decline):
            raise
        except Exception as error:
            # Type and place only: the text of a foreign exception may repeat what the caller sent.
            frame = traceback.extract_tb(error.__traceback__)[-1]
            place = f"{frame.filename}:{frame.lineno}"
            log.warning("rung %s of %s failed: %s at %s", rung, model, type(error).__name__, place)
            raise

    return logged


def _dumped(spec: ServedSpec, outcome: object) -> Mapping[str, Json]:
    if not isinstance(outcome, spec.output):
        raise Unavailable(f"{spec.name} gave a {type(outcome).__name__}, not a {spec.output.__name__}")
    values: Mapping[str, Json] = outcome.model_dump(mode="json")
    return values
