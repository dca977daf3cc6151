"""Features of the entities that a request names, looked up and put beside the request's own fields.

Old values are never used in silence: what is stale or unknown is refused, replaced by a declared default, or left to a
rung that reads no features, as the declaration says.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import pydantic

from ..core.clock import Clock
from ..core.context import Context, system_context
from ..core.errors import DeadlineExceeded, FieldProblem, InvalidInput, NotFound, StanchionError, Unavailable
from ..core.flags.split import POINTS, bucket
from ..core.resilience import Decline, bounded
from ..core.values import Json
from ..features import Logged, ServedFeatures, Vector
from .contract import FeaturesStatus, Lookup
from .intake import ROOT, Intake
from .package import Column

_AT_ONCE = 1_000
_QUEUED = 10_000
_FRESH_SECONDS = 30.0
_LOGGED = "serving-feature-log"
_PLACE = re.compile(r"\$\.(?:entities|request)\[(\d+)\]\.?(.*)", re.DOTALL)
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Enriched:
    """A checked instance with its features. `missing` says why they are not there.

    `typed` is the whole as the input type of a declared function; where features are missing, they are None in it,
    for the rules that do not look at them.
    """

    item: Any
    values: Mapping[str, Json]
    missing: str = ""
    typed: Any = None


class EnrichedIntake:
    """Rows of a graph that reads looked-up features: some columns are the request's, the others the features'.

    Raises InvalidInput if neither has a column.
    """

    def __init__(self, schema: Mapping[str, Any], columns: Sequence[Column], lookup: Lookup) -> None:
        own = set(schema.get("properties", ()))
        known = own | set(lookup.fields)
        if strange := [column.name for column in columns if column.name not in known]:
            raise InvalidInput(f"neither the input schema nor {lookup.service} has the columns {', '.join(strange)}")
        self._request = Intake(schema, [column for column in columns if column.name in own])
        self._order = [column.name in own for column in columns]
        self._features = [(c.name, _reader(c)) for c in columns if c.name not in own]
        self.checked, self.struct = self._request.checked, self._request.struct

    def row(self, item: Enriched) -> list[float]:
        """The columns in order. Raises Decline where features are missing."""
        if item.missing:
            raise Decline(item.missing)
        given = iter(self._request.row(item.item))
        looked_up = iter([read(item.values.get(name)) for name, read in self._features])
        return [next(given) if own else next(looked_up) for own in self._order]

    def plain(self, item: Enriched) -> Any:
        """The request's own fields as plain JSON data."""
        return self._request.plain(item.item)


def _reader(column: Column) -> Callable[[Json], float]:
    codes = {value: float(code) for code, value in enumerate(column.categories)}

    def category(value: Json) -> float:
        if not isinstance(value, str) or value not in codes:
            raise Decline(f"the feature {column.name} has a value that the graph does not know")
        return codes[value]

    def number(value: Json) -> float:
        if value is None:
            return float("nan")
        if not isinstance(value, int | float):
            raise Decline(f"the feature {column.name} is no number")
        return float(value)

    return category if column.kind == "category" else number


class Enricher:
    """Looks up the features of one model's instances. `pinned` is the fingerprint that its version was made with.

    The features are read as the system: who may predict need not be one who may read features.
    """

    def __init__(
        self,
        lookup: Lookup,
        features: ServedFeatures,
        *,
        clock: Clock,
        pinned: str = "",
        typed: type[pydantic.BaseModel] | None = None,
    ) -> None:
        self.lookup = lookup
        self._features = features
        self._clock = clock
        self._pinned = pinned
        self._running = ""
        self._verified = float("-inf")
        self._typed = typed
        self._reader = system_context("", task="serving")
        self._logger = _Logger(features, lookup.service)

    def status(self) -> FeaturesStatus:
        """The service and its fingerprints."""
        return FeaturesStatus(self.lookup.service, self._pinned, self._running)

    async def verify(self, tenant: str) -> None:
        """Make sure that the running definitions are the ones the version was made with.

        Raises Unavailable where they are not, or where there is no such service.
        """
        if self._clock.monotonic() < self._verified + _FRESH_SECONDS:
            return
        ctx = _reader_of(tenant)
        found = {each.name: each for each in await self._features.services(ctx)}
        service = found.get(self.lookup.service)
        if service is None:
            raise Unavailable(f"no feature service {self.lookup.service} is running")
        self._running = service.fingerprint
        if self._pinned and self._pinned != service.fingerprint:
            raise Unavailable(
                f"the version was made with the feature service {service.name} of fingerprint {self._pinned}, and "
                f"{service.fingerprint} is running",
                next_step="Train the model on the present definitions, or run the ones it was trained on.",
            )
        self._verified = self._clock.monotonic()

    async def enrich(
        self, ctx: Context, items: Sequence[Any], requests: Sequence[Mapping[str, Json]]
    ) -> list[Enriched | InvalidInput]:
        """Each checked instance with its features, in order, or why it is refused.

        `requests` are the same instances as plain data, with their defaults.
        """
        entities = [self._entities(request) for request in requests]
        found: list[Enriched | InvalidInput] = [
            self._without(item, request, "the features could not be read")
            for item, request in zip(items, requests, strict=True)
        ]
        try:
            await self.verify(ctx.tenant)
            for first in range(0, len(items), _AT_ONCE):
                places = range(first, min(first + _AT_ONCE, len(items)))
                await self._read(ctx, places, items, requests, entities, found)
        except (Unavailable, DeadlineExceeded, NotFound) as error:
            # Other rungs may still answer: to them it is an instance without features.
            log.warning("features of %s could not be read: %s", self.lookup.service, error.detail)
        return found

    async def _read(
        self,
        ctx: Context,
        places: Sequence[int],
        items: Sequence[Any],
        requests: Sequence[Mapping[str, Json]],
        entities: Sequence[Mapping[str, str]],
        found: list[Enriched | InvalidInput],
    ) -> None:
        asked = list(places)
        try:
            vectors = await self._vectors(ctx, asked, requests, entities)
        except InvalidInput as error:
            for place, refusal in self._blamed(error, asked).items():
                found[place] = refusal
            asked = [place for place in asked if not isinstance(found[place], InvalidInput)]
            vectors = await self._vectors(ctx, asked, requests, entities) if asked else []
        now = self._clock.now()
        kept = self.lookup.logged >= 1 or bucket(_LOGGED, ctx.request_id) < self.lookup.logged * POINTS
        for place, vector in zip(asked, vectors, strict=True):
            found[place] = self._merged(items[place], requests[place], vector)
            if kept and isinstance(found[place], Enriched):
                self._logger.add(ctx, self._logged(ctx, entities[place], requests[place], vector, now))

    async def _vectors(
        self,
        ctx: Context,
        places: Sequence[int],
        requests: Sequence[Mapping[str, Json]],
        entities: Sequence[Mapping[str, str]],
    ) -> Sequence[Vector]:
        lookup = self.lookup
        asked = [{name: requests[p][name] for name in lookup.request if name in requests[p]} for p in places]
        keys = [entities[place] for place in places]
        reader = replace(ctx, principal=self._reader.principal, rights=self._reader.rights)
        limit = bounded(reader, lookup.timeout_ms / 1000, clock=self._clock)
        return await limit.run(
            lambda narrowed: self._features.vectors(
                narrowed, lookup.service, keys, request=asked if lookup.request else ()
            )
        )

    def _entities(self, request: Mapping[str, Json]) -> Mapping[str, str]:
        return {entity: str(request.get(field, "")) for entity, field in self.lookup.entities.items()}

    def _merged(self, item: Any, request: Mapping[str, Json], vector: Vector) -> Enriched | InvalidInput:
        absent = {view: state for view, state in vector.status.items() if state != "present"}
        values: Mapping[str, Json] = vector.values
        missing = ""
        for view, state in absent.items():
            policy = self.lookup.stale if state == "stale" else self.lookup.unknown
            if policy == "error":
                return self._refused(view, state)
            if policy == "next_rung":
                missing = f"the features of {view} are {state}"
        if absent and not missing:
            defaults = self.lookup.defaults
            values = {name: defaults.get(name) if value is None else value for name, value in values.items()}
        if missing:
            return self._without(item, request, missing)
        if self._typed is None:
            return Enriched(item, values)
        try:
            whole = {**request, **{name: values.get(name) for name in self.lookup.fields}}
            return Enriched(item, values, typed=self._typed.model_validate(whole))
        except pydantic.ValidationError as error:
            refusal = self._misfit(request, error)
            return refusal or self._without(item, request, "the features do not fit the declared type")

    def _without(self, item: Any, request: Mapping[str, Json], why: str) -> Enriched:
        if self._typed is None:
            return Enriched(item, {}, why)
        fields: dict[str, Any] = {**request, **dict.fromkeys(self.lookup.fields)}
        return Enriched(item, {}, why, self._typed.model_construct(**fields))

    def _refused(self, view: str, state: str) -> InvalidInput:
        fields = list(self.lookup.entities.values())
        problems = [FieldProblem(f"{ROOT}.{field}", f"The features of {view} are {state}") for field in fields]
        return InvalidInput(
            f"{problems[0].path}: the features of {view} are {state} for this entity",
            next_step="Push or materialise the features of this entity, or declare what shall happen without them.",
            fields=problems,
        )

    def _misfit(self, request: Mapping[str, Json], error: pydantic.ValidationError) -> InvalidInput | None:
        """The caller's share of what the declared type objects to; the rest is the feature store's fault."""
        told = error.errors(include_url=False, include_context=False, include_input=False)
        problems = [
            FieldProblem(f"{ROOT}.{each['loc'][0]}", each["msg"])
            for each in told
            if each["loc"] and each["loc"][0] in request
        ]
        if problems:
            return InvalidInput(f"{problems[0].path}: {problems[0].message}", fields=problems)
        places = ", ".join(".".join(map(str, each["loc"])) for each in told)
        log.warning("features of %s do not fit the model's input: %s", self.lookup.service, places)
        return None

    def _blamed(self, error: InvalidInput, asked: Sequence[int]) -> dict[int, InvalidInput]:
        """The refusals by place of the instances that the feature store found fault with; all, if it names none."""
        problems: dict[int, list[FieldProblem]] = {}
        for each in error.fields:
            match = _PLACE.fullmatch(each.path)
            if match is not None and int(match[1]) < len(asked):
                field = self.lookup.entities.get(match[2], match[2])
                problems.setdefault(asked[int(match[1])], []).append(FieldProblem(f"{ROOT}.{field}", each.message))
        if not problems:
            raise Unavailable(f"the feature service refused the look-up: {error.detail}") from error
        return {
            place: InvalidInput(f"{these[0].path}: {these[0].message}", fields=these)
            for place, these in problems.items()
        }

    def _logged(
        self, ctx: Context, entities: Mapping[str, str], request: Mapping[str, Json], vector: Vector, now: datetime
    ) -> Logged:
        asked = {name: request[name] for name in self.lookup.request if name in request}
        return Logged(ctx.request_id, entities, asked, vector.values, now)


class _Logger:
    """Hands vectors to the skew monitor away from the request, one call at a time; what does not fit is dropped."""

    def __init__(self, features: ServedFeatures, service: str) -> None:
        self._features = features
        self._service = service
        self._waiting: dict[str, list[Logged]] = {}
        self._task: asyncio.Task[None] | None = None

    def add(self, ctx: Context, logged: Logged) -> None:
        waiting = self._waiting.setdefault(ctx.tenant, [])
        if len(waiting) < _QUEUED:
            waiting.append(logged)
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._hand_over(), name="serving-feature-log")

    async def _hand_over(self) -> None:
        while self._waiting:
            tenant, logged = self._waiting.popitem()
            for first in range(0, len(logged), _AT_ONCE):
                try:
                    await self._features.log(_reader_of(tenant), self._service, logged[first : first + _AT_ONCE])
                except StanchionError as error:
                    log.warning("%d feature vectors of %s were not logged: %s", len(logged), self._service, error)
                    break


def _reader_of(tenant: str) -> Context:
    return system_context(tenant, task="serving")
