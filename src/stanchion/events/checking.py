"""Holds data against the schema of their type before they are published: what no handler could read is not let in."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from itertools import islice
from typing import Any, NamedTuple

import msgspec
from sqlalchemy import Connection, inspect

from ..core.clock import Clock
from ..core.context import Context
from ..core.errors import FieldProblem, InvalidInput, NotAllowed
from . import avro
from .backends.statements import marks, rows
from .contract import Event, SchemaKind, Schemas

RESERVED = ("stanchion.", "run.", "review.")
"""Types in which the house tells of itself: they are staged with a change, and no caller may make them up."""
FRESH_SECONDS = 2.0
"""For how long what the registry said is taken as true: so much later others' versions are held to."""
MOST_FAULTS = 10
MOST_TENANTS = 1_000
IN_THREAD = 20
BYTES_IN_THREAD = 65_536
"""So many events and more are looked at in a thread, or data so long: a hundred take some milliseconds."""
_ABLE = find_spec("jsonschema") is not None
_NEWEST = (
    "SELECT subject, kind, version, text FROM events_schemas AS one WHERE tenant = ? AND subject IN ({}) AND version ="
    " (SELECT max(version) FROM events_schemas WHERE tenant = one.tenant AND subject = one.subject)"
)
_MARK = "events_schemas"
"""An option of the database's engine, as `stage` is given a transaction and no service: `ignore`, or `there`."""
_NAMING = ("required", "additionalProperties", "dependentRequired", "unevaluatedProperties")
_log = logging.getLogger(__name__)
Finds = Callable[[Any], Iterable[Any]]


class Held(NamedTuple):
    """The newest version of a type's schema."""

    kind: SchemaKind
    version: int
    text: str


@dataclass(frozen=True, slots=True)
class _Known:
    """The newest schema of each type of a tenant, until a moment of the monotonic clock."""

    until: float
    schemas: Mapping[str, Held]


class SchemaCheck:
    """Holds data against the newest schema of their event type in the caller's registry.

    Types without one are let through, and so are those in which the house tells of itself: a schema must not keep a run
    from ending. `format` asserts nothing, as the specification of JSON Schema has it (2020-12, 7.2.1).
    """

    def __init__(self, registry: Schemas, clock: Clock) -> None:
        self._registry = registry
        self._clock = clock
        self._tenants: dict[str, _Known] = {}

    async def check(self, ctx: Context, events: Sequence[Event]) -> None:
        """Return if all data fit. Raises InvalidInput with the path and reason of each fault of the first that do not.

        What the registry holds is looked up at most every two seconds for each tenant.
        """
        schemas = await self._schemas(ctx)
        held = _held(schemas, events)
        if not held:
            return
        one = len(events) == 1
        if len(held) < IN_THREAD and sum(len(event.data or b"") for _, event in held) < BYTES_IN_THREAD:
            _check(schemas, held, one=one)
        else:
            await asyncio.to_thread(_check, schemas, held, one=one)

    async def _schemas(self, ctx: Context) -> Mapping[str, Held]:
        now = self._clock.monotonic()
        known = self._tenants.get(ctx.tenant)
        if known is not None and now < known.until:
            return known.schemas
        before = {} if known is None else known.schemas
        found: dict[str, Held] = {}
        for subject in await self._registry.subjects(ctx):
            same = before.get(subject.name)
            if same is None or same.version != subject.newest:
                newest = await self._registry.schema(ctx, subject.name)
                same = Held(newest.kind, newest.version, newest.text)
            found[subject.name] = same
        if len(self._tenants) >= MOST_TENANTS:
            self._tenants.clear()
        self._tenants[ctx.tenant] = _Known(now + FRESH_SECONDS, found)
        return found


def check_within(connection: Connection, tenant: str, events: Sequence[Event]) -> None:
    """What `SchemaCheck.check` does, for events that are staged in a transaction: with the registry as it is there."""
    types = {event.type for event in events if not event.type.startswith(RESERVED)}
    mark = connection.engine.get_execution_options().get(_MARK)
    if not types or mark == "ignore":
        return
    if mark is None:
        # The registry's tables are made with the first schema.
        if not inspect(connection).has_table("events_schemas"):
            return
        connection.engine.update_execution_options(**{_MARK: "there"})
    found = rows(connection, _NEWEST.format(marks(len(types))), (tenant, *sorted(types)))
    schemas = {kind: Held(*held) for kind, *held in found}
    _check(schemas, _held(schemas, events), one=len(events) == 1)


def refuse_reserved(events: Sequence[Event]) -> None:
    """Return if none is of a type in which the house tells of itself. Raises NotAllowed."""
    for event in events:
        if event.type.startswith(RESERVED):
            raise NotAllowed(
                f"events of type {event.type} tell what the house itself did",
                next_step=f"Use a type that begins with none of {', '.join(RESERVED)}.",
            )


def let_through(connection: Connection) -> None:
    """From now on hold nothing against schemas that is staged by way of this engine."""
    connection.engine.update_execution_options(**{_MARK: "ignore"})


def _held(schemas: Mapping[str, Held], events: Sequence[Event]) -> Sequence[tuple[int, Event]]:
    """The events that are to be looked at, with their places."""
    able = {kind for kind, held in schemas.items() if held.kind == "avro" or _ABLE}
    return [
        (place, event)
        for place, event in enumerate(events)
        if event.type in able and not event.type.startswith(RESERVED)
    ]


def _check(schemas: Mapping[str, Held], held: Sequence[tuple[int, Event]], *, one: bool) -> None:
    for place, event in held:
        schema = schemas[event.type]
        here = "$.data" if one else f"$[{place}].data"
        find = avro.faults if schema.kind == "avro" else _faults
        faults = list(islice(find(schema.text, event.data, event.content_type, here), MOST_FAULTS))
        if faults:
            raise InvalidInput(
                f"the data of event {event.id[:100]} do not fit version {schema.version} of the schema of "
                f"{event.type}: {faults[0].path} {faults[0].message}",
                next_step="Publish data that fit, or register a version of the schema that admits them.",
                fields=faults,
            )


def _faults(text: str, data: bytes | None, content_type: str, here: str) -> Iterable[FieldProblem]:
    if data is not None and "json" not in content_type:
        yield FieldProblem(here, f"are {content_type[:60]} and no JSON")
        return
    try:
        value = None if data is None else msgspec.json.decode(data)
    except msgspec.DecodeError:
        yield FieldProblem(here, "are no JSON")
        return
    for error in _finder(text)(value):
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
