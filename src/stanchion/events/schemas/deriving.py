"""Schemas of handlers' typed parameters, registered when the system starts: a breaking change ends the start."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from ...core.context import Context, system_context
from ..contract.specs import EventSpec, HandlerSpec
from .service import SchemaService


def derived(specs: Sequence[object]) -> Mapping[str, str]:
    """The JSON Schema of each event type whose data have a declared type, by event type.

    An `app.event` goes before a handler's parameter. Patterns of several types give none.
    """
    found: dict[str, str] = {}
    for spec in specs:
        if isinstance(spec, EventSpec):
            _put(found, spec.type, spec.data)
    for spec in specs:
        if isinstance(spec, HandlerSpec) and spec.data is not None:
            for kind in spec.types:
                if "*" not in kind and kind not in found:
                    _put(found, kind, spec.data)
    return found


def _put(found: dict[str, str], kind: str, data: Any) -> None:
    schema = schema_of(data)
    if schema is not None:
        found[kind] = msgspec.json.encode(schema).decode()


def schema_of(data: Any) -> dict[str, Any] | None:
    """The JSON Schema of a type: a pydantic model, or whatever pydantic can read. None for what it cannot."""
    from pydantic import PydanticSchemaGenerationError, PydanticUserError, TypeAdapter

    try:
        return TypeAdapter(data).json_schema(mode="validation")
    except (PydanticSchemaGenerationError, PydanticUserError, TypeError):
        return None


async def register_derived(service: SchemaService, specs: Sequence[object], tenant: str) -> int:
    """Register what is derived, for the system's own tenant; how many types have a schema.

    Judged leniently: a handler passes over what it does not declare, so an optional field more is no break.
    Raises Conflict with the reason and path where a type's data changed so that events of before cannot be read.
    """
    ctx: Context = system_context(tenant, task="schemas")
    schemas = derived(specs)
    for kind, text in schemas.items():
        await service.derive(ctx, kind, text)
    return len(schemas)
