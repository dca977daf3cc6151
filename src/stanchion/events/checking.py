"""Holds data against the schema of their type before they are published: what no handler could read is not let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from typing import Any

import msgspec

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput
from .contract import Event, Schemas, SchemaVersion

FRESH_SECONDS = 2.0
"""For how long what the registry said is taken as true: so much later others' versions are held to."""
MOST_FAULTS = 10
MOST_TENANTS = 1_000
IN_THREAD = 20
"""So many events and more are looked at in a thread: a hundred take some milliseconds."""
_NAMING = ("required", "additionalProperties", "dependentRequired", "unevaluatedProperties")
_log = logging.getLogger(__name__)
Finds = Callable[[Any], Iterable[Any]]


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest schema of each type of a tenant, until a moment of the monotonic clock."""

    until: float
    schemas: Mapping[str, SchemaVersion]


class SchemaCheck:
    """Checks JSON data against the newest JSON Schema of their event type in the caller's registry.

    Types without one, and those whose schema is of Avro, are let through. `format` asserts nothing, as the
    specification has it (JSON Schema 2020-12, 7.2.1).
    """

    def __init__(self, registry: Schemas, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._tenants: dict[str, _Known] = {}
        self._able = find_spec("jsonschema") is not None

    async def check(self, ctx: Context, events: Sequence[Event]) -> None:
        """Return if all data fit. Raises InvalidInput with the path and reason of each fault of the first that do not.

        What the registry holds is looked up at most every two seconds for each tenant.
        """
        if not self._able:
            return
        schemas = await self._schemas(ctx)
        held = [(place, event) for place, event in enumerate(events) if event.type in schemas]
        if not held:
            return
        one = len(events) == 1
        if len(held) < IN_THREAD:
            _check(schemas, held, one=one)
        else:
            await asyncio.to_thread(_check, schemas, held, one=one)

    async def _schemas(self, ctx: Context) -> Mapping[str, SchemaVersion]:
        now = self._clock.monotonic()
        known = self._tenants.get(ctx.tenant)
        if known is not None and now < known.until:
            return known.schemas
        before = {} if known is None else known.schemas
        found: dict[str, SchemaVersion] = {}
        for subject in await self._registry.subjects(ctx):
            if subject.kind == "json":
                same = before.get(subject.name)
                found[subject.name] = (
                    same
                    if same is not None and same.version == subject.newest
                    else await self._registry.schema(ctx, subject.name)
                )
        if len(self._tenants) >= MOST_TENANTS:
            self._tenants.clear()
        self._tenants[ctx.tenant] = _Known(now + FRESH_SECONDS, found)
        return found


def _check(schemas: Mapping[str, SchemaVersion], held: Sequence[tuple[int, Event]], *, one: bool) -> None:
    for place, event in held:
        version = schemas[event.type]
        here = "$.data" if one else f"$[{place}].data"
        faults = list(islice(_faults(version, event, here), MOST_FAULTS))
        if faults:
            raise InvalidInput(
                f"the data of event {event.id[:100]} do not fit version {version.version} of the schema of "
                f"{event.type}: {faults[0].path} {faults[0].message}",
                next_step="Publish data that fit, or register a version of the schema that admits them.",
                fields=faults,
            )


def _faults(version: SchemaVersion, event: Event, here: str) -> Iterable[FieldProblem]:
    if event.data is not None and "json" not in event.content_type:
        yield FieldProblem(here, f"are {event.content_type[:60]} and no JSON")
        return
    try:
        value = None if event.data is None else msgspec.json.decode(event.data)
    except msgspec.DecodeError:
        yield FieldProblem(here, "are no JSON")
        return
    for error in _finder(version.text)(value):
        steps = "".join(f"[{each}]" if isinstance(each, int) else f".{each}" for each in error.absolute_path)
        yield FieldProblem(here + steps, _reason(error))


def _reason(error: Any) -> str:
    """The rule that is broken, without the value that breaks it: errors are logged, and data may be secret."""
    if error.validator in _NAMING:
        return str(error.message)[:200]
    return f"breaks {error.validator}: {msgspec.json.encode(error.validator_value).decode()[:100]}"


@lru_cache(maxsize=256)
def _finder(text: str) -> Finds:
    """What finds the faults of a value by this schema."""
    from jsonschema import Draft202012Validator
    from jsonschema.validators import validator_for
    from referencing import Registry
    from referencing.exceptions import Unresolvable

    schema = msgspec.json.decode(text)
    # An empty registry: a schema must not make this process fetch anything.
    validator = validator_for(schema, default=Draft202012Validator)(schema, registry=Registry())

    def faults(value: Any) -> Iterable[Any]:
        try:
            return list(validator.iter_errors(value))
        except Unresolvable as error:
            _log.warning("a schema refers to what it does not hold, its data are let through: %s", error)
            return ()

    return faults
