"""A registered version whose graph is one of tensors: served by its fields, and by its tensors as they are."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy

from ..core.context import Context
from ..core.errors import Unavailable
from ..core.resilience import Ladder, Rung
from ..registry import ModelVersion
from .contract import ServedSpec
from .declaring import threads_of
from .intake import Intake
from .loaded import Engine, Loaded, assembled, opened
from .memory import Resident
from .package import TensorPackage
from .pool import Threads
from .ports import Runtime, Signature, TensorGraph
from .rungs import Answers, Batch, Call, Pace, watched
from .tensors.ladder import Arrays, Asked, TensorLadder
from .tensors.layout import Laid

_WARM = 5
_SEVERAL = 8


@dataclass(frozen=True, slots=True)
class TensorRunning:
    """A graph of tensors, how its fields are laid out, and how fast it is."""

    graph: TensorGraph
    laid: Laid
    pace: Pace


def built(
    runtime: Runtime, version: ModelVersion, package: TensorPackage, contents: Mapping[str, bytes]
) -> Mapping[str, TensorRunning]:
    """The graphs of a package by rung, the best first, run warm. Blocks. Raises InvalidInput, Unavailable."""
    made = {}
    for name in ("primary", "simple"):
        if name in contents:
            graph = runtime.tensors(contents[name])
            signature = graph.signature
            laid = Laid(
                package.tensors, version.input_schema, version.output_schema, signature.inputs, signature.outputs
            )
            made[name] = TensorRunning(graph, laid, _paced(graph, laid))
    return made


def _paced(graph: TensorGraph, laid: Laid) -> Pace:
    """Runs of zeros until the engine has made its plans. Raises Unavailable if its answers do not fit the layout."""

    def seconds(inputs: Arrays) -> float:
        started = time.perf_counter()
        graph.run(inputs, laid.wanted)
        return time.perf_counter() - started

    one = laid.example()
    laid.answers(graph.run(one, laid.wanted), 1)
    run = median(seconds(one) for _ in range(_WARM))
    return Pace(run, run if laid.single else seconds(laid.example(_SEVERAL)) / _SEVERAL)


def from_tensors(
    version: ModelVersion,
    resident: Resident[TensorRunning],
    graphs: Mapping[str, TensorRunning],
    engine: Engine,
    spec: ServedSpec | None,
) -> Loaded:
    """The version with the declared rule and default behind its graphs."""
    intake = Intake(version.input_schema)
    admit = opened(version.input_schema, intake.checked)
    calls: dict[str, Call] = {}
    slow = set()
    for name, running in graphs.items():
        # Decoding an image takes longer than many a graph: never on the event loop.
        rows = 0 if running.laid.heavy else running.pace.rows_within(engine.inline_seconds)
        calls[name] = _field_call(
            resident, name, intake, pool=threads_of(spec, engine.pool, name, rows), inline_rows=rows
        )
        slow |= set() if rows else {name}
    loaded = assembled(version, intake, calls, engine, spec, slow, admit=admit, resident=resident)
    return replace(loaded, tensors=_tensor_ladder(loaded, resident, graphs["primary"].graph.signature, engine))


def _field_call(
    resident: Resident[TensorRunning], name: str, intake: Intake, *, pool: Threads, inline_rows: int
) -> Call:
    """A rung that fills the graph's inputs from fields and reads its outputs into fields."""
    plain = intake.plain

    async def call(ctx: Context, items: Batch) -> Answers:
        running = (resident.graphs or await resident.back())[name]

        def work(given: Batch) -> Answers:
            laid = running.laid
            arrays = laid.arrays([plain(item) for item in given])
            return laid.answers(_run(running, arrays, laid.wanted), len(given))

        resident.enter()
        try:
            return work(items) if len(items) <= inline_rows else await pool.run(work, items)
        finally:
            resident.leave()

    return call


def _run(running: TensorRunning, inputs: Arrays, outputs: Sequence[str]) -> Arrays:
    rows = len(next(iter(inputs.values())))
    if not running.laid.single or rows == 1:
        return running.graph.run(inputs, outputs)
    parts = [running.graph.run({n: a[i : i + 1] for n, a in inputs.items()}, outputs) for i in range(rows)]
    return {name: numpy.concatenate([part[name] for part in parts]) for name in outputs}


def _tensor_ladder(
    loaded: Loaded, resident: Resident[TensorRunning], signature: Signature, engine: Engine
) -> TensorLadder:
    """The same rungs on tensors, under the same breakers: a graph that fails on fields fails on tensors too."""

    def call(name: str) -> Callable[[Context, Asked], Awaitable[Arrays]]:
        async def run(ctx: Context, asked: Asked) -> Arrays:
            running = (resident.graphs or await resident.back())[name]

            def work(given: Asked) -> Arrays:
                return running.graph.run(given.inputs, given.outputs)

            resident.enter()
            try:
                return await engine.pool.run(work, asked)
            finally:
                resident.leave()

        return run

    async def known(ctx: Context) -> Signature:
        return signature

    rungs = [] if loaded.ladder is None else loaded.ladder.rungs
    found = [
        Rung(
            name=rung.name,
            call=watched(
                loaded.model,
                rung.name,
                call(rung.name),
                faults=engine.faults,
                limit=rung.timeout or engine.slow_timeout,
            ),
            timeout=rung.timeout or engine.slow_timeout,
            breaker=rung.breaker,
        )
        for rung in rungs
        if rung.name in ("primary", "simple")
    ]
    if not found:
        raise Unavailable(f"{loaded.model} has no graph")
    return TensorLadder(known, Ladder(found, clock=engine.clock), "onnxruntime")
