"""One version of a model, ready to answer: its check of instances, its ladder, and what its rungs have done."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import Any

import pydantic

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import DeadlineExceeded, FieldProblem, InvalidInput, Unavailable
from ..core.resilience import Breaker, BreakerView, Hedge, Ladder, Rung, Step
from ..core.values import Json
from ..features import ServedFeatures
from ..registry import ModelVersion
from .contract import MemoryStatus, RungStatus, ServedModel, ServedSpec
from .declared import Declared
from .declaring import batched, declared_of, enriched_function, request_schema, threads_of, typed_whole
from .drill.faults import Faults
from .enrich import EnrichedIntake
from .intake import ROOT, Intake
from .kept import KeptAnswers
from .memory import Resident
from .package import Outcomes, Package, pinned_of
from .people import People
from .pool import Pool
from .rungs import (
    Answers,
    Batch,
    Call,
    In,
    Out,
    Running,
    default_call,
    function_call,
    graph_call,
    rule_call,
    watched,
)
from .sources import Sources, far_ladder
from .tensors.ladder import Arrays, Asked, TensorLadder
from .tensors.layout import media_check

Admit = Callable[[Mapping[str, Json]], Any]
DECLARED, NONE = "declared", "none"
_KINDS = {
    "primary": "onnx",
    "simple": "onnx",
    "rule": "rule",
    "cached": "cached",
    "human": "people",
    "default": "default",
}


@dataclass(frozen=True, slots=True)
class Engine:
    """What every loaded version shares. `inline_seconds` is the longest run that the event loop itself does."""

    clock: Clock
    pool: Pool
    inline_seconds: float
    slow_timeout: float
    on_breaker: Callable[[BreakerView], None]
    on_served: Callable[[str, str], None]
    faults: Faults
    kept: KeptAnswers
    features: ServedFeatures | None = None
    on_cache: Callable[[str, str], None] = lambda model, result: None
    sources: Sources | None = None
    people: People | None = None


@dataclass(slots=True)
class Tally:
    """How often a rung gave the answer, and how often it failed to."""

    served: int = 0
    failed: int = 0


@dataclass(frozen=True, slots=True)
class Loaded:
    """Immutable but for its counts: a call that began on it ends on it, whatever is loaded meanwhile.

    `ladder` is None where nothing can answer yet. `admit` checks one instance and gives what the rungs take.
    """

    model: str
    version: str
    stage: str | None
    input_schema: Mapping[str, Json]
    output_schema: Mapping[str, Json]
    admit: Callable[[Mapping[str, Json]], Any]
    ladder: Ladder[Batch, Answers] | None
    kinds: Mapping[str, str]
    tallies: Mapping[str, Tally]
    loaded_at: datetime
    on_served: Callable[[str, str], None]
    manifest: str = ""
    spec: ServedSpec | None = field(default=None, repr=False)
    resident: Resident[Any] | None = field(default=None, repr=False)
    tensors: TensorLadder | None = field(default=None, repr=False)
    declared: Declared | None = field(default=None, repr=False)

    def answer(self, ctx: Context, items: Batch) -> Coroutine[Any, Any, Step[Answers]]:
        """The ladder's answer for checked instances, once awaited. Raises what the ladder raises."""
        if self.ladder is None:
            raise Unavailable(
                f"no version of {self.model} is registered, and it declares no rule and no default",
                next_step=f"Train it: `stanchion train FILE {self.model}`.",
            )
        return self._counted(self.ladder, ctx, items)

    async def infer(self, ctx: Context, asked: Asked) -> Step[Arrays]:
        """The tensors of the first rung that takes tensors and answers. Raises what the ladder raises."""
        if self.tensors is None:
            raise Unavailable(f"{self.model} takes fields, not tensors of its own")
        return await self._counted(self.tensors.ladder, ctx, asked)

    async def _counted(self, ladder: Ladder[In, Out], ctx: Context, item: In) -> Step[Out]:
        try:
            step = await ladder.run(ctx, item)
        except (Unavailable, DeadlineExceeded):
            for rung in ladder.rungs:
                self.tallies[rung.name].failed += 1
            raise
        for attempt in step.tried:
            # A rung that declined or was held back has not failed this call.
            if attempt.code not in ("declined", "circuit_open"):
                self.tallies[attempt.rung].failed += 1
        self.tallies[step.rung].served += 1
        self.on_served(self.model, step.rung)
        return step

    def status(self, fault: str | None = None) -> ServedModel:
        """This version as others may see it."""
        return ServedModel(
            model=self.model,
            version=None if self.version == NONE else self.version,
            stage=self.stage,
            input_schema=self.input_schema,
            output_schema=self.output_schema,
            rungs=[] if self.ladder is None else [self._rung(rung) for rung in self.ladder.rungs],
            loaded_at=self.loaded_at.isoformat(),
            fault=fault,
            memory=None if self.resident is None else self._memory(self.resident),
            **({} if self.declared is None else self.declared.statuses()),
        )

    def _memory(self, resident: Resident[Any]) -> MemoryStatus:
        return MemoryStatus(resident.graphs is not None, resident.bytes, resident.cold_seconds)

    def _rung(self, rung: Rung[Batch, Answers]) -> RungStatus:
        view = None if rung.breaker is None else rung.breaker.snapshot()
        return RungStatus(
            name=rung.name,
            kind=self.kinds[rung.name],
            breaker="closed" if view is None else view.state.replace("-", "_"),
            admitted=1.0 if view is None else view.share / 100,
            served=self.tallies[rung.name].served,
            failed=self.tallies[rung.name].failed,
        )


def from_version(
    version: ModelVersion,
    package: Package,
    resident: Resident[Running],
    graphs: Mapping[str, Running],
    engine: Engine,
    spec: ServedSpec | None,
) -> Loaded:
    """A registered version, with the declared rule and default behind its graphs, which `resident` holds."""
    outcomes = Outcomes(package)
    intake: Intake | EnrichedIntake
    if spec is not None and spec.options.features is not None:
        intake = EnrichedIntake(version.input_schema, package.columns, spec.options.features)
    else:
        intake = Intake(version.input_schema, package.columns)
    calls: dict[str, Call] = {}
    slow = set()
    for name, running in graphs.items():
        rows = running.pace.rows_within(engine.inline_seconds)
        calls[name] = graph_call(
            resident, name, intake, outcomes, pool=threads_of(spec, engine.pool, name, rows), inline_rows=rows
        )
        slow |= set() if rows else {name}
    return assembled(version, intake, calls, engine, spec, slow, admit=intake.checked, resident=resident)


def assembled(
    version: ModelVersion,
    intake: Intake | EnrichedIntake,
    calls: dict[str, Call],
    engine: Engine,
    spec: ServedSpec | None,
    slow: set[str],
    *,
    admit: Callable[[Mapping[str, Json]], Any],
    resident: Resident[Any],
) -> Loaded:
    """A version whose graphs are the first of its calls."""
    declared = None
    if spec is not None:
        if spec.options.features is not None and not isinstance(intake, EnrichedIntake):
            raise InvalidInput(f"{spec.name} declares features, which only a graph of columns reads")
        typed = partial(_typed_again, spec, intake)
        calls = batched(calls, spec, engine, ahead="primary" in slow)
        declared = declared_of(
            spec,
            engine,
            calls,
            schema=version.input_schema,
            version=version.manifest_sha256,
            typed=typed,
            pinned=pinned_of(version),
            shown=version.version,
        )
        calls = _with_plain(calls, spec, typed, engine, version.version)
    return Loaded(
        model=version.model,
        version=version.version,
        stage=version.stage,
        input_schema=version.input_schema,
        output_schema=version.output_schema,
        admit=admit,
        ladder=_ladder(version.model, calls, engine, spec, slow),
        kinds=_KINDS,
        tallies={name: Tally() for name in calls},
        loaded_at=engine.clock.now(),
        on_served=engine.on_served,
        manifest=version.manifest_sha256,
        spec=spec,
        resident=resident,
        declared=declared,
    )


def from_spec(spec: ServedSpec, engine: Engine) -> Loaded:
    """What the declaration alone can answer: its function, its rule and its default; perhaps nothing."""
    schema = request_schema(spec)
    intake = Intake(schema)
    calls: dict[str, Call] = {}
    if spec.function is not None:
        called = function_call(spec, pool=threads_of(spec, engine.pool))
        ahead = not inspect.iscoroutinefunction(spec.function)
        calls = batched({"primary": enriched_function(spec, called)}, spec, engine, ahead=ahead)
    origin = None if spec.source is None or engine.sources is None else engine.sources.origin(spec)
    if origin is not None:
        calls = batched({"primary": origin.call}, spec, engine)
    typed = partial(typed_whole, spec)
    calls = _with_plain(calls, spec, typed, engine, DECLARED)
    # Without a function there are only rules, which read no features.
    read = spec if spec.function is not None else replace(spec, options=replace(spec.options, features=None))
    whole = read.options.features is None
    loaded = Loaded(
        model=spec.name,
        version=NONE if spec.from_registry else DECLARED,
        stage=None,
        input_schema=schema,
        output_schema=spec.output.model_json_schema(mode="serialization"),
        admit=opened(schema, (lambda instance: _typed(spec, intake, instance)) if whole else intake.checked),
        ladder=_ladder(spec.name, calls, engine, spec, {"primary"}) if calls else None,
        kinds={**_KINDS, "primary": "function" if origin is None else origin.kind},
        tallies={name: Tally() for name in calls},
        loaded_at=engine.clock.now(),
        on_served=engine.on_served,
        spec=spec,
        declared=declared_of(read, engine, calls, schema=schema, version=DECLARED, typed=typed),
    )
    if origin is None or origin.tensors is None or loaded.ladder is None:
        return loaded
    first = loaded.ladder.rungs[0]
    limit = first.timeout or engine.slow_timeout
    far = far_ladder(spec.name, origin.tensors, first, clock=engine.clock, faults=engine.faults, limit=limit)
    return replace(loaded, tensors=far)


def opened(schema: Mapping[str, Any], admit: Admit) -> Admit:
    """The check of an instance, and of the heads of its images and sounds where the schema has such."""
    check = media_check(schema)
    if check is None:
        return admit

    def admitted(instance: Mapping[str, Json]) -> Any:
        item = admit(instance)
        check(instance)
        return item

    return admitted


def _with_plain(
    calls: Mapping[str, Call],
    spec: ServedSpec,
    typed: Callable[[Any], pydantic.BaseModel],
    engine: Engine,
    version: str,
) -> dict[str, Call]:
    """The calls with what is behind them: rule, last good answer, people and default, as far as declared."""
    found = dict(calls)
    last = spec.options.last_good
    if last is not None:
        found = {name: engine.kept.remembering(spec.name, call, last, typed) for name, call in calls.items()}
    if spec.rule is not None:
        found["rule"] = rule_call(spec, typed)
    if last is not None:
        found["cached"] = engine.kept.rung(spec.name, last, typed)
    if spec.options.human and engine.people is not None:
        found["human"] = engine.people.rung(spec, version, typed)
    if spec.default is not None:
        found["default"] = default_call(spec)
    return found


def _ladder(
    model: str, calls: Mapping[str, Call], engine: Engine, spec: ServedSpec | None, slow: set[str]
) -> Ladder[Batch, Answers]:
    """Rungs in the order of `calls`. A run on the event loop cannot be cut short, so only slow ones have a limit."""
    timeouts = {} if spec is None else spec.timeouts

    def rung(name: str, call: Call) -> Rung[Batch, Answers]:
        always = name in ("rule", "cached", "default")
        limit = timeouts.get(name, engine.slow_timeout)
        return Rung(
            name=name,
            call=watched(model, name, call, faults=engine.faults, limit=limit),
            timeout=limit if name in slow or name in timeouts else None,
            breaker=None
            if name == "default"
            else Breaker(f"{model}/{name}", clock=engine.clock, on_change=engine.on_breaker),
            always=always,
            hedge=_hedge(spec, name),
        )

    return Ladder([rung(name, call) for name, call in calls.items()], clock=engine.clock)


def _hedge(spec: ServedSpec | None, rung: str) -> Hedge | None:
    declared = None if spec is None else spec.options.hedges.get(rung)
    return None if declared is None else Hedge(declared.after, declared.on)


def _typed(spec: ServedSpec, intake: Intake, instance: Mapping[str, Json]) -> pydantic.BaseModel:
    """A checked instance of the declared type, whose own validators have their say too."""
    plain = intake.plain(intake.checked(instance))
    try:
        return spec.input.model_validate(plain)
    except pydantic.ValidationError as error:
        fields = [FieldProblem(ROOT + _place(each["loc"]), each["msg"]) for each in _told(error)]
        raise InvalidInput(f"{fields[0].path}: {fields[0].message}", fields=fields) from error


def _typed_again(spec: ServedSpec, intake: Intake | EnrichedIntake, item: Any) -> pydantic.BaseModel:
    try:
        return spec.input.model_validate(intake.plain(item))
    except pydantic.ValidationError as error:
        # The version's schema admitted it, so it is not the caller's fault that the newer declaration does not.
        raise Unavailable(f"the declared input type of {spec.name} is not the one of this version") from error


def _told(error: pydantic.ValidationError) -> Sequence[Any]:
    # Without the input: what a caller sent stays out of errors.
    return error.errors(include_url=False, include_context=False, include_input=False)


def _place(parts: Sequence[int | str]) -> str:
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in parts)
