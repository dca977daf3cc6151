"""What a system declares of durable work: stages, pipelines, queues and when they start."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Callable, Coroutine, Sequence
from datetime import datetime, timedelta
from typing import Any, Generic, Protocol, TypeVar, get_type_hints, overload

import msgspec

from ..core.context import Context, Rights
from ..core.errors import Misconfigured
from ..events import Event, HandlerSpec
from ..pipelines import (
    Check,
    LiveRun,
    Pipelines,
    PipelineSpec,
    QueueSpec,
    Rate,
    Retry,
    Run,
    ScheduleSpec,
    Stage,
    StageSpec,
    code_of,
    stage_spec,
    traced,
    version_of,
)
from .handles import Bound

H = TypeVar("H", bound=Bound)
In = TypeVar("In")
Out = TypeVar("Out")
T = TypeVar("T")


class Pipeline(Bound, Generic[In, Out]):
    """A declared pipeline: start runs of it, and give it moments at which it starts by itself."""

    def __init__(self, spec: PipelineSpec) -> None:
        super().__init__(spec.name)
        self.spec = spec
        self._schedules: list[ScheduleSpec] = []

    def specs(self) -> Sequence[object]:
        return (self.spec, *self._schedules, *(self._handler(each) for each in self._schedules if each.on))

    async def start(self, ctx: Context, inputs: In, *, key: str | None = None, dry: bool = False) -> Run:
        """A run with these inputs; see `Pipelines.begin`."""
        door: Pipelines = self._door(Pipelines)
        plain = msgspec.json.decode(_plain(self.spec.input, inputs))
        return await door.begin(ctx, self.name, plain, key=key, dry=dry)

    def schedule(
        self,
        inputs: Callable[[datetime], In],
        *,
        cron: str = "",
        zone: str = "UTC",
        every: timedelta | None = None,
        since: datetime | None = None,
        rights: Rights | None = None,
        catch_up: bool = False,
        name: str = "",
    ) -> None:
        """Start runs by a cron line or an interval; `inputs` gives a run's inputs for its moment.

        `rights` are what its runs may do; nothing by default. See `stanchion.pipelines.ScheduleSpec`.
        """
        if bool(cron) == (every is not None):
            raise Misconfigured(f"a schedule of {self.name} needs a cron line or an interval, one of them")
        if every is not None and every <= timedelta():
            raise Misconfigured(f"a schedule of {self.name} comes every {every}, which never passes")
        self._add(name, inputs, cron=cron, zone=zone, every=every, since=since, rights=rights, catch_up=catch_up)

    def on(self, event: str, inputs: Callable[[Any], In], *, name: str = "") -> None:
        """Start a run for each event of a type, once, with the rights of the event's author."""
        self._add(name, inputs, on=event)

    def _handler(self, schedule: ScheduleSpec) -> HandlerSpec:
        """What begins a run for an event, once: its key is the event's name."""

        async def begin(ctx: Context, event: Event, commit: object) -> None:
            key = hashlib.sha256(f"{event.source} {event.id}".encode()).hexdigest()
            await self.start(ctx, schedule.inputs(event), key=f"{schedule.name}@{key}")

        return HandlerSpec(name=f"pipelines.{schedule.name}", types=(schedule.on,), function=begin)

    def _add(self, name: str, inputs: Callable[[Any], In], *, rights: Rights | None = None, **when: Any) -> None:
        number = len(self._schedules) + 1
        name = name or (self.name if number == 1 else f"{self.name}-{number}")
        self._schedules.append(
            ScheduleSpec(name=name, pipeline=self.name, inputs=inputs, rights=rights or Rights(), **when)
        )


class StageDeclarer(Protocol):
    """Turns a function, async or plain, into a stage."""

    @overload
    def __call__(self, function: Callable[..., Coroutine[Any, Any, T]], /) -> Stage[T]: ...

    @overload
    def __call__(self, function: Callable[..., T], /) -> Stage[T]: ...


class _Queue(Bound):
    def __init__(self, spec: QueueSpec) -> None:
        super().__init__(f"queue:{spec.name}")
        self._spec = spec

    def specs(self) -> Sequence[object]:
        return (self._spec,)


class PipelineDeclarations:
    """The part of a System that declares durable work."""

    _stages: dict[str, StageSpec]

    def _keep(self, handle: H) -> H:
        raise NotImplementedError

    def stage(
        self,
        name: str = "",
        *,
        retry: Retry | None = None,
        timeout: timedelta | float | None = None,
        compensate: Callable[..., Any] | None = None,
        cache: timedelta | None = None,
        check: Check | None = None,
        record: str = "",
        effect: bool = False,
    ) -> StageDeclarer:
        """Declare a function as a stage; its annotations are the types by which values are kept between stages.

        A parameter of type Context gets the rights of who started the run, one of type Step the step itself. A plain
        function with a parameter of SQLAlchemy's type Connection writes to the house's database in the transaction
        that notes its end: its effect happens once. See `stanchion.pipelines.StageSpec` for the options.
        """

        def declare(function: Callable[..., Any]) -> Stage[Any]:
            found = name or function.__name__
            if found in self._known():
                raise Misconfigured(f"the stage {found!r} is declared twice")
            spec = stage_spec(
                found,
                function,
                retry=retry or Retry(),
                timeout=timeout,
                compensate=compensate,
                cache=cache,
                check=check,
                record=record,
                effect=effect,
            )
            self._known()[found] = spec
            return Stage(spec)

        return declare

    def pipeline(
        self,
        name: str,
        *,
        version: str = "",
        queue: str = "default",
        priority: int = 100,
        timeout: timedelta | None = None,
    ) -> Callable[[Callable[..., Any]], Pipeline[Any, Any]]:
        """Declare a pipeline: a plain function of one input that calls stages, or an async one of a run and an input.

        The plain function is read once, as a graph: stages are nodes, arguments edges. The async one is run, and again
        from its journal; it may wait. Without `version` the hash of the source is one. Lower `priority` is
        first. `timeout` bounds a run with all its waits.
        """

        def declare(function: Callable[..., Any]) -> Pipeline[Any, Any]:
            kinds = _kinds(name, function)
            code = inspect.iscoroutinefunction(function)
            graph, stages = (None, _named(function, self._known())) if code else traced(function)
            sources = [code_of(function), *(f"{each}:{spec.code}" for each, spec in sorted(stages.items()))]
            spec = PipelineSpec(
                name=name,
                function=function,
                input=kinds[0],
                output=kinds[1],
                version=version or version_of(sources),
                graph=graph,
                stages=stages if graph is not None else dict(self._known()),
                queue=queue,
                priority=priority,
                timeout=None if timeout is None else timeout.total_seconds(),
                about=inspect.getdoc(function) or "",
            )
            return self._keep(Pipeline(spec))

        return declare

    def queue(self, name: str, *, concurrency: int | None = None, rate: Rate | None = None) -> None:
        """Declare limits of a queue, which hold over all processes; see `stanchion.pipelines.QueueSpec`."""
        self._keep(_Queue(QueueSpec(name, concurrency, rate)))

    def _known(self) -> dict[str, StageSpec]:
        # The mixin has no constructor of its own: System makes its state, this part adds to it with the first use.
        found: dict[str, StageSpec] = self.__dict__.setdefault("_stages", {})
        return found


def _kinds(name: str, function: Callable[..., Any]) -> tuple[Any, Any]:
    """The types of a pipeline's input and output."""
    hints = get_type_hints(function, localns={"LiveRun": LiveRun})
    output = hints.pop("return", inspect.Parameter.empty)
    parameters = [each for each in inspect.signature(function).parameters if hints.get(each) is not LiveRun]
    if len(parameters) != 1 or parameters[0] not in hints or output is inspect.Parameter.empty:
        raise Misconfigured(
            f"the pipeline {name} takes one typed input and has a typed answer",
            next_step="Write `def f(night: Night) -> Report` or `async def f(run: LiveRun, night: Night) -> Report`.",
        )
    return hints[parameters[0]], output


def _named(function: Callable[..., Any], known: dict[str, StageSpec]) -> dict[str, StageSpec]:
    """The stages that a function's code names."""
    inside = inspect.getclosurevars(function)
    values = [*inside.globals.values(), *inside.nonlocals.values()]
    return {value.name: value.spec for value in values if isinstance(value, Stage) and value.name in known}


def _plain(kind: Any, value: Any) -> bytes:
    from pydantic import TypeAdapter

    if isinstance(value, msgspec.Struct):
        return msgspec.json.encode(value)
    return TypeAdapter(kind).dump_json(value)
