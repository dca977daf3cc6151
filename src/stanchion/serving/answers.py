"""The body of a prediction and of its answer, the same by every way that JSON comes: a request, a stream, a socket."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput, StanchionError
from ..core.redaction import redact
from ..core.telemetry.contract import LedgerRow
from .contract.predictions import Prediction, PredictOptions, Predicts, Priority

Instance = dict[str, Any]
FEATURES = "$.features"
_NAME = re.compile(r"[\w.-]{1,128}(@[\w.-]{1,64})?", re.ASCII)
_SINGLE, _MODEL = "$.instances[0]", "$.model_id"
# What the registry calls the reference that came as `model_id`.
_REFERENCE = frozenset({"$.model", "$.reference"})
TIMED = PredictOptions(explain=("timing",))
_encode = msgspec.json.Encoder().encode


class AskOptions(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """How the call is to be treated; see PredictOptions."""

    priority: Priority = "normal"
    unit: Annotated[str, msgspec.Meta(max_length=200)] = ""


class Ask(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of POST /v1/predictions: exactly one of `features` and `instances`."""

    model_id: str
    features: Instance | msgspec.UnsetType = msgspec.UNSET
    instances: list[Instance] | msgspec.UnsetType = msgspec.UNSET
    explain: Literal["timing"] | msgspec.UnsetType = msgspec.UNSET
    options: AskOptions | msgspec.UnsetType = msgspec.UNSET


class AskOne(msgspec.Struct, forbid_unknown_fields=True, gc=False):
    """The body of POST /v1/models/{model}/predict: one instance of the model that the path names."""

    features: Instance
    explain: Literal["timing"] | msgspec.UnsetType = msgspec.UNSET
    options: AskOptions | msgspec.UnsetType = msgspec.UNSET

    def of(self, model: str) -> Ask:
        """The same for a model by name."""
        return Ask(model, self.features, explain=self.explain, options=self.options)


async def answered(serving: Predicts, ctx: Context, row: LedgerRow, ask: Ask) -> Mapping[str, Any]:
    """The body of the answer; completes the ledger row. Raises what `predict` raises, with the places of this body."""
    # A stopwatch for the answer itself; the ledger has its own for the whole request.
    started = time.perf_counter()
    try:
        given = instances_of(ask)
        try:
            answer = await serving.predict(ctx, ask.model_id, given, options=options_of(ask))
        except InvalidInput as error:
            raise moved(error, FEATURES if isinstance(ask.features, dict) else _SINGLE) from error
    except StanchionError:
        named(row, ask.model_id)
        raise
    row.subject, row.version, row.rung, row.items = answer.model, answer.version, answer.served_by, len(answer.items)
    row.cache = answer.cache
    timings = {stage: round(ms, 3) for stage, ms in answer.timings.items()}
    row.stages = _encode(timings).decode()
    body: dict[str, Any] = {
        "request_id": ctx.request_id,
        "trace_id": ctx.trace.trace_id,
        "model_id": answer.model,
        "model_version": answer.version,
        "served_by": answer.served_by,
        "latency_ms": round((time.perf_counter() - started) * 1000, 3),
    }
    if answer.arm:
        body["arm"] = answer.arm
    if ask.explain is not msgspec.UNSET:
        body["timing_ms"] = timings
    if ask.instances is msgspec.UNSET:
        only = answer.items[0]
        body.update(only.values)
        if only.age_seconds is not None or only.overruled_by or only.review:
            body.update(marks(only))
    else:
        body["predictions"] = [_told(each) for each in answer.items]
    return body


def named(row: LedgerRow, model: str) -> None:
    """Let the ledger row of a refused call name the model.

    What was asked for may be no model at all but any text, of any length: only a name is kept.
    """
    row.subject = redact(model) if _NAME.fullmatch(model) else ""


def instances_of(ask: Ask) -> list[Instance]:
    """The instances that a body holds, one way or the other. Raises InvalidInput."""
    if ask.features is not msgspec.UNSET and ask.instances is not msgspec.UNSET:
        raise InvalidInput("give features or instances, not both", fields=[FieldProblem("$.instances", "Not both")])
    given = [ask.features] if isinstance(ask.features, dict) else ask.instances
    if not isinstance(given, list):
        raise InvalidInput("give features or instances", fields=[FieldProblem(FEATURES, "Required, and missing")])
    return given


def options_of(ask: Ask) -> PredictOptions:
    """What a body asks for besides the answer. The times of the stages are told to the ledger in any case."""
    if not isinstance(ask.options, AskOptions):
        return TIMED
    return PredictOptions(explain=TIMED.explain, priority=ask.options.priority, unit=ask.options.unit)


def moved(error: InvalidInput, place: str) -> InvalidInput:
    """The same error with the places of a body, in which the instance stands at `place`."""
    fields = [
        FieldProblem(_MODEL if each.path in _REFERENCE else each.path.replace(FEATURES, place, 1), each.message)
        for each in error.fields
    ]
    return type(error)(error.detail.replace(FEATURES, place, 1), next_step=error.hint, fields=fields)


def _told(item: Prediction) -> Mapping[str, Any]:
    if item.error is not None:
        return {"error": item.error}
    told = marks(item)
    return {**item.values, **told} if told else item.values


def marks(item: Prediction) -> dict[str, Any]:
    """What an answer says of itself where it is not the plain answer of the call's rung."""
    found: dict[str, Any] = {"served_by": item.served_by} if item.served_by else {}
    if item.age_seconds is not None:
        found["age_seconds"] = round(item.age_seconds, 3)
    if item.overruled_by:
        found["overruled_by"] = item.overruled_by
    if item.review:
        found["review"] = item.review
    if item.review_item:
        found["review_item"] = item.review_item
    return found
