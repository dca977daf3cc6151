"""Feast's question for online features, answered by columns: the same for HTTP and gRPC."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, NotFound
from ...core.values import Json
from ..contract import Features, Service, Vector
from ..contract.serving import Status

FeastStatus = Literal["PRESENT", "NOT_FOUND", "OUTSIDE_MAX_AGE"]
_STATUSES: Mapping[Status, FeastStatus] = {"present": "PRESENT", "unknown": "NOT_FOUND", "stale": "OUTSIDE_MAX_AGE"}
NEVER = datetime(1970, 1, 1, tzinfo=UTC)
_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Question:
    """A feature service by name, or features as `view:feature`; entities (and the request's fields) as columns."""

    service: str | None
    features: Sequence[str]
    columns: Mapping[str, Sequence[Json]]
    full_names: bool


@dataclass(frozen=True, slots=True)
class Column:
    """One entity or feature: a value, a status and an event time for each row."""

    name: str
    values: Sequence[Json]
    statuses: Sequence[FeastStatus]
    times: Sequence[datetime]


async def answered(features: Features, ctx: Context, question: Question) -> list[Column]:
    """The entities' columns, then the features' in the order of the service or of the question.

    Raises InvalidInput, NotFound.
    """
    if (question.service is None) == (not question.features):
        raise _invalid("$", "must hold exactly one of `feature_service` and `features`")
    count = _count(question.columns)
    if question.service is not None:
        service = await _service(features, ctx, question.service)
        wanted = [(part, field) for field, part in service.origins.items()]
        return await _by_service(features, ctx, service, wanted, question, count)
    wanted = [_reference(each, f"$.features[{index}]") for index, each in enumerate(question.features)]
    views = {view.name: view for view in await features.views(ctx)}
    if all(part in views for part, _ in wanted):
        return await _by_view(features, ctx, wanted, {name: view.entity for name, view in views.items()}, question)
    for service in await features.services(ctx):
        if all(service.origins.get(field) == part for part, field in wanted):
            return await _by_service(features, ctx, service, wanted, question, count)
    raise InvalidInput(
        "no feature view has these features, and no feature service computes them together",
        fields=[FieldProblem("$.features", "are not declared together")],
        next_step="Name features of views, or a declared feature service.",
    )


async def _service(features: Features, ctx: Context, name: str) -> Service:
    found = next((service for service in await features.services(ctx) if service.name == name), None)
    if found is None:
        raise NotFound(f"no feature service is declared as {name!r}")
    return found


async def _by_service(
    features: Features,
    ctx: Context,
    service: Service,
    wanted: Sequence[tuple[str, str]],
    question: Question,
    count: int,
) -> list[Column]:
    columns = question.columns
    if strange := [name for name in columns if name not in {*service.entities, *service.request}]:
        raise _invalid(f"$.entities.{strange[0]}", f"is neither an entity nor a request field of {service.name}")
    keys = {name: _keys(columns, name) for name in service.entities}
    entities = [{name: column[index] for name, column in keys.items()} for index in range(count)]
    asked = [name for name in service.request if name in columns]
    request = [{name: columns[name][index] for name in asked} for index in range(count)] if service.request else []
    vectors = await features.vectors(ctx, service.name, entities, request=request)
    found = [_entity(name, columns[name]) for name in service.entities]
    for part, field in wanted:
        reads = service.reads.get(part, (part,))
        name = f"{part}__{field}" if question.full_names else field
        judged = [_judged(vector, reads) for vector in vectors]
        values = [vector.values[field] for vector in vectors]
        found.append(Column(name, values, [status for status, _ in judged], [time for _, time in judged]))
    return found


async def _by_view(
    features: Features,
    ctx: Context,
    wanted: Sequence[tuple[str, str]],
    entity_of: Mapping[str, str],
    question: Question,
) -> list[Column]:
    parts = list(dict.fromkeys(part for part, _ in wanted))
    entities = list(dict.fromkeys(entity_of[part] for part in parts))
    if strange := [name for name in question.columns if name not in entities]:
        raise _invalid(f"$.entities.{strange[0]}", "is no entity of the features that are asked for")
    keys = {name: _keys(question.columns, name) for name in entities}
    readings = {part: await features.read(ctx, part, keys[entity_of[part]]) for part in parts}
    fields = {view.name: view.fields for view in await features.views(ctx)}
    found = [_entity(name, question.columns[name]) for name in entities]
    for index, (part, field) in enumerate(wanted):
        if field not in fields[part]:
            raise _invalid(f"$.features[{index}]", f"is no feature of {part}")
        rows = readings[part]
        statuses: list[FeastStatus] = [_status(row.status) for row in rows]
        name = f"{part}__{field}" if question.full_names else field
        found.append(Column(name, [row.values.get(field) for row in rows], statuses, [row.at or NEVER for row in rows]))
    return found


def _judged(vector: Vector, reads: Sequence[str]) -> tuple[FeastStatus, datetime]:
    """The worst status of the views that a feature comes from, and their earliest event time."""
    states = [vector.status[view] for view in reads]
    status: Status = "unknown" if "unknown" in states else "stale" if "stale" in states else "present"
    times = [time for view in reads if (time := vector.at[view]) is not None]
    return _STATUSES[status], min(times, default=NEVER)


def _status(status: str) -> FeastStatus:
    return "PRESENT" if status == "present" else "OUTSIDE_MAX_AGE" if status == "stale" else "NOT_FOUND"


def _entity(name: str, values: Sequence[Json]) -> Column:
    return Column(name, values, ["PRESENT"] * len(values), [NEVER] * len(values))


def _count(columns: Mapping[str, Sequence[Json]]) -> int:
    sizes = {len(column) for column in columns.values()}
    if len(sizes) != 1 or not 1 <= min(sizes) <= _MOST:
        raise _invalid("$.entities", f"must hold columns of one length, 1 to {_MOST}")
    return sizes.pop()


def _keys(columns: Mapping[str, Sequence[Json]], name: str) -> list[str]:
    if name not in columns:
        raise _invalid(f"$.entities.{name}", "is missing")
    keys: list[str] = []
    for index, value in enumerate(columns[name]):
        # Feast's clients send numbers where keys are numbers; our keys are text.
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise _invalid(f"$.entities.{name}[{index}]", "must be text or a whole number")
        keys.append(str(value))
    return keys


def _reference(text: str, path: str) -> tuple[str, str]:
    part, separator, field = text.partition(":")
    if not separator or not part or not field:
        raise _invalid(path, "must be written `view:feature`")
    return part, field


def _invalid(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path} {message}", fields=[FieldProblem(path, message)])
