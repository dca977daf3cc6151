"""What a client gives its caller: outcomes of the caller's own type, and who gave them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Generic, TypeVar

import msgspec

from ...core.errors import InvalidInput, StanchionError, from_problem

T = TypeVar("T")
T_co = TypeVar("T_co", covariant=True)
# The answer's own fields, beside which those of the model's output stand.
_OURS = frozenset(
    {
        "request_id",
        "trace_id",
        "model_id",
        "model_version",
        "served_by",
        "latency_ms",
        "arm",
        "timing_ms",
        "age_seconds",
        "overruled_by",
        "review",
        "predictions",
    }
)


@dataclass(frozen=True, slots=True)
class Outcome(Generic[T_co]):
    """One instance's outcome. `value` is of the type that was asked for, else a mapping of the output's fields.

    `served_by` is the rung of the ladder that answered, `arm` the side of a rollout, `timings` milliseconds by stage
    where they were asked for. `request_id` and `instance` are what feedback names the prediction by, `index` is the
    place among the items that were asked for. `age_seconds` is how old an answer is that was given before,
    `overruled_by` the rule that gave another outcome than the model, `review` why a person shall look at it.
    """

    value: T_co
    model: str
    version: str
    served_by: str
    request_id: str
    trace_id: str
    latency_ms: float = 0.0
    arm: str = ""
    timings: Mapping[str, float] = field(default_factory=dict)
    instance: int = 0
    index: int = 0
    age_seconds: float | None = None
    overruled_by: str = ""
    review: str = ""


@dataclass(frozen=True, slots=True)
class Refused:
    """The item at a place that was not answered, and why; the others of its call are."""

    error: StanchionError
    index: int = 0


@dataclass(frozen=True, slots=True)
class Outcomes(Generic[T_co]):
    """The answers to several instances, in their order."""

    items: Sequence[Outcome[T_co] | Refused]

    def values(self) -> list[T_co]:
        """Every outcome's value. Raises the error of the first instance that was refused."""
        found = []
        for each in self.items:
            if isinstance(each, Refused):
                raise each.error
            found.append(each.value)
        return found

    def __len__(self) -> int:
        return len(self.items)

    def __iter__(self) -> Iterator[Outcome[T_co] | Refused]:
        return iter(self.items)


def typed(values: Mapping[str, Any], into: type[T] | None) -> Any:
    """The fields of an outcome as the type wanted: a pydantic model, or what msgspec can make of a mapping."""
    if into is None:
        return dict(values)
    validate = getattr(into, "model_validate", None)
    return msgspec.convert(values, into, strict=False) if validate is None else validate(dict(values))


def one(body: Mapping[str, Any], into: type[T] | None) -> Outcome[Any]:
    """The outcome in the answer to a single instance."""
    return _outcome(body, _own(body), into, 0)


def several(body: Mapping[str, Any], into: type[T] | None) -> Outcomes[Any]:
    """The outcomes in the answer to several instances."""
    items: list[Outcome[Any] | Refused] = []
    for place, each in enumerate(body["predictions"]):
        if "error" in each:
            items.append(Refused(from_problem(each["error"]), place))
            continue
        items.append(_outcome({**body, **each}, _own(each), into, place))
    return Outcomes(items)


def refused_alone(error: InvalidInput, items: int) -> Outcomes[Any]:
    """The answer where the only instance of a call was refused, which the server tells as the call's own error."""
    if items == 1 and any(each.path.startswith("$.instances[0]") for each in error.fields):
        return Outcomes([Refused(error)])
    raise error


def streamed(event: Mapping[str, Any], trace_id: str, into: type[T] | None) -> Outcome[Any] | Refused:
    """The outcome in one event of a stream."""
    place = int(event["index"])
    if "error" in event:
        return Refused(from_problem(event["error"]), place)
    found = _outcome({**event, "trace_id": trace_id}, event["outcome"], into, place)
    # Each event is the answer to a request of its own, with this one instance.
    return replace(found, instance=0)


def _own(answer: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of the model's output, without what stands beside them."""
    return {name: value for name, value in answer.items() if name not in _OURS}


def _outcome(body: Mapping[str, Any], values: Mapping[str, Any], into: type[T] | None, place: int) -> Outcome[Any]:
    age = body.get("age_seconds")
    return Outcome(
        value=typed(values, into),
        model=str(body.get("model_id", "")),
        version=str(body.get("model_version", "")),
        served_by=str(body.get("served_by", "")),
        request_id=str(body.get("request_id", "")),
        trace_id=str(body.get("trace_id", "")),
        latency_ms=float(body.get("latency_ms", 0.0)),
        arm=str(body.get("arm", "")),
        timings=body.get("timing_ms", {}),
        instance=place,
        index=place,
        age_seconds=None if age is None else float(age),
        overruled_by=str(body.get("overruled_by", "")),
        review=str(body.get("review", "")),
    )
