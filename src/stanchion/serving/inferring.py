"""Models seen as graphs of tensors: what they take, runs on tensors, and which of them are in memory."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import replace

from ..core.context import Context
from ..core.errors import Conflict, FieldProblem, InvalidInput, StanchionError, Unavailable, from_problem
from ..core.resilience.ladder import CALLERS_FAULT
from .contract import Predictions, PredictOptions
from .contract.predictions import PLAIN
from .contract.repository import InferRequest, InferResponse, ModelMetadata, ModelState, State
from .contract.tensors import Tensor
from .intake import ROOT
from .loaded import DECLARED, NONE, Loaded
from .memory import Memory
from .predicting import Predicting
from .shelf import Shelf
from .tensors.arrays import chosen, taken, tensor_of, untold
from .tensors.fields import Fields
from .tensors.ladder import Asked
from .traffic import UNSPLIT, Traffic

_KEPT = 256


class Inferring:
    """The repository's business. A model of fields is run through `predict`, so that nothing is lost on the way."""

    def __init__(self, shelf: Shelf, predicting: Predicting, memory: Memory, traffic: Traffic) -> None:
        self._shelf = shelf
        self._traffic = traffic
        self._memory = memory
        self._predicting = predicting
        self._fields: OrderedDict[tuple[str, str, str], Fields] = OrderedDict()

    async def metadata(self, ctx: Context, model: str) -> ModelMetadata:
        """What the contract says."""
        loaded = await self._found(ctx, model)
        if loaded.tensors is not None:
            signature = await loaded.tensors.signature(ctx)
            inputs, outputs, platform = signature.inputs, signature.outputs, loaded.tensors.platform
            return ModelMetadata(loaded.model, loaded.version, (loaded.version,), platform, inputs, outputs)
        fields = self._of(ctx, loaded)
        return ModelMetadata(
            name=loaded.model,
            version=loaded.version,
            versions=(loaded.version,),
            platform=_platform(loaded),
            inputs=fields.inputs,
            outputs=fields.outputs,
            parameters=fields.parameters,
        )

    async def infer(
        self, ctx: Context, model: str, request: InferRequest, options: PredictOptions = PLAIN
    ) -> InferResponse:
        """What the contract says."""
        loaded = self._shelf.ready(ctx.tenant, model) or await self._shelf.find(ctx.tenant, model)
        if loaded.tensors is not None:
            return await self._split(ctx, model, loaded, request, options)
        fields = self._of(ctx, loaded)
        instances = fields.instances(request.inputs)
        names = fields.chosen(request.outputs)
        try:
            answer = await self._predicting.predict(ctx, model, instances, options)
        except InvalidInput as error:
            raise _moved(error, fields, request.inputs, 0) from error
        return InferResponse(
            model=answer.model,
            version=answer.version,
            served_by=answer.served_by,
            outputs=_answered(answer, fields, request, names),
            tried=tuple(answer.tried),
            arm=answer.arm,
        )

    async def _split(
        self, ctx: Context, model: str, loaded: Loaded, request: InferRequest, options: PredictOptions
    ) -> InferResponse:
        """The run on the version that the traffic's split assigns; shadows are not shown tensors."""
        assignment = UNSPLIT if "@" in model else self._traffic.assign(ctx, model, options.unit)
        if assignment is UNSPLIT:
            return await self._on_tensors(ctx, loaded, request)
        assignment = replace(assignment, shadows=())
        started = time.perf_counter()
        try:
            version = loaded if assignment.version is None else await self._found(ctx, f"{model}@{assignment.version}")
            answer = await self._on_tensors(ctx, version, request)
        except StanchionError as error:
            self._traffic.seen(ctx, model, assignment, (), None, error.code, time.perf_counter() - started)
            if assignment.version is None or isinstance(error, CALLERS_FAULT):
                raise
            # A version on trial that has no answer at all costs its failure budget, and not the caller.
            return await self._on_tensors(ctx, loaded, request)
        told = Predictions(answer.model, answer.version, answer.served_by, (), tried=answer.tried)
        self._traffic.seen(ctx, model, assignment, (), told, None, time.perf_counter() - started)
        return replace(answer, arm=assignment.arm)

    async def _on_tensors(self, ctx: Context, loaded: Loaded, request: InferRequest) -> InferResponse:
        tensors = loaded.tensors
        if tensors is None:
            raise Unavailable(f"{loaded.model} {loaded.version} takes fields, not tensors of its own")
        signature = await tensors.signature(ctx)
        # A far server that tells nothing of its tensors checks them itself.
        told = bool(signature.inputs)
        wanted = chosen(request.outputs, signature.outputs) if signature.outputs else list(request.outputs)
        inputs = taken(request.inputs, signature.inputs) if told else untold(request.inputs)
        step = await loaded.infer(ctx, Asked(inputs, wanted))
        wanted = wanted or list(step.value)
        return InferResponse(
            model=loaded.model,
            version=loaded.version,
            served_by=step.rung,
            outputs=tuple(tensor_of(name, step.value[name], binary=request.binary) for name in wanted),
            tried=tuple(attempt.rung for attempt in step.tried),
        )

    async def ready(self, ctx: Context, model: str) -> bool:
        """What the contract says."""
        try:
            loaded = await self._found(ctx, model)
        except Unavailable:
            return False
        if loaded.tensors is not None and loaded.tensors.ready is not None:
            return await loaded.tensors.ready(ctx)
        return self._state(loaded)[0] in ("READY", "IDLE")

    async def index(self, ctx: Context) -> Sequence[ModelState]:
        """What the contract says."""
        return [self._entry(loaded, fault) for loaded, fault in self._shelf.held(ctx.tenant)]

    async def load(self, ctx: Context, model: str) -> ModelState:
        """What the contract says."""
        loaded = await self._found(ctx, model)
        if loaded.resident is not None:
            loaded.resident.barred = False
            await loaded.resident.back()
        _note(ctx, loaded)
        return self._entry(loaded)

    async def unload(self, ctx: Context, model: str) -> ModelState:
        """What the contract says."""
        loaded = await self._found(ctx, model)
        if loaded.resident is None:
            raise Conflict(
                f"{loaded.model} has no graphs that could be unloaded: it is {_platform(loaded)}",
                next_step="Unload models that are served from registered versions.",
            )
        loaded.resident.barred = True
        self._memory.unload(loaded.resident, "asked")
        _note(ctx, loaded)
        return self._entry(loaded)

    def _entry(self, loaded: Loaded, fault: str | None = None) -> ModelState:
        state, reason = self._state(loaded)
        return ModelState(
            name=loaded.model,
            version=loaded.version,
            state=state,
            reason=reason or fault or "",
            bytes=0 if loaded.resident is None or loaded.resident.graphs is None else loaded.resident.bytes,
            cold_start_seconds=None if loaded.resident is None else loaded.resident.cold_seconds,
        )

    def _state(self, loaded: Loaded) -> tuple[State, str]:
        if loaded.version == NONE:
            return "UNAVAILABLE", "no version is registered"
        resident = loaded.resident
        if resident is None:
            return "READY", ""
        if resident.barred:
            return ("UNLOADING" if resident.users else "UNAVAILABLE"), "unloaded"
        if resident.loading:
            return "LOADING", ""
        return ("IDLE", "") if resident.graphs is None else ("READY", "")

    async def _found(self, ctx: Context, model: str) -> Loaded:
        return self._shelf.ready(ctx.tenant, model) or await self._shelf.find(ctx.tenant, model)

    def _of(self, ctx: Context, loaded: Loaded) -> Fields:
        key = (ctx.tenant, loaded.model, loaded.manifest)
        found = self._fields.get(key)
        if found is None:
            found = self._fields[key] = Fields(loaded.input_schema, loaded.output_schema)
            if len(self._fields) > _KEPT:
                self._fields.popitem(last=False)
        return found


def _note(ctx: Context, loaded: Loaded) -> None:
    if ctx.effect is not None:
        ctx.effect.note(version=loaded.version)


def _platform(loaded: Loaded) -> str:
    if loaded.version == NONE:
        return "none"
    return loaded.kinds["primary"] if loaded.version == DECLARED else "onnxruntime"


def _answered(answer: Predictions, fields: Fields, request: InferRequest, names: Sequence[str]) -> tuple[Tensor, ...]:
    for row, item in enumerate(answer.items):
        if item.error is not None:
            raise _moved(from_problem(item.error), fields, request.inputs, row)
        if item.review_item:
            raise Unavailable(f"{answer.model} has no answer yet: people were asked in {item.review_item}")
    given = fields.tensors([item.values for item in answer.items], names)
    if not request.binary:
        return given
    return tuple(Tensor(each.name, each.datatype, each.shape, raw=each.binary()) for each in given)


def _moved(error: StanchionError, fields: Fields, inputs: Sequence[Tensor], row: int) -> StanchionError:
    """The same error with the places of the tensors."""
    if not isinstance(error, InvalidInput) or not error.fields:
        return error
    prefix = f"$.instances[{row}]"
    problems = [
        FieldProblem(fields.place_of(each.path.replace(prefix, ROOT, 1), inputs, row), each.message)
        for each in error.fields
    ]
    first = problems[0]
    return type(error)(f"{first.path}: {first.message}", next_step=error.hint, fields=problems)
