"""A view's rows: checked against their declared type, packed small, and never mixed with those of another type."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, cast

import msgspec
from pydantic import BaseModel, ValidationError

from ..core.clock import micros
from ..core.errors import FieldProblem
from ..core.values import Json
from .contract import Row, View, ViewSpec
from .fingerprint import bare, of_view
from .windows.plan import Plan
from .windows.state import Occurrence, State
from .windows.values import inner

KEY_BYTES = 256
# A source whose clock runs ahead would otherwise shut out all later values: older event times never win.
AHEAD = timedelta(minutes=5)
_LAYOUT, _WINDOWED_LAYOUT = "2", "3"


_ENCODER = msgspec.msgpack.Encoder()


@dataclass(frozen=True, slots=True)
class Checked:
    """A row that its view accepts, as it will be stored."""

    key: str
    row: Occurrence
    values: Mapping[str, Json] = field(default_factory=dict)


class Shape:
    """A declared view and its type. Raises Misconfigured for a name, lifetime or type that cannot be served."""

    def __init__(self, spec: ViewSpec) -> None:
        self.spec = spec
        self.plan = Plan(spec)
        self.state = State(self.plan)
        self.name = spec.name
        self.ttl = spec.ttl
        self.entity = spec.entity
        schema = spec.row.model_json_schema(mode="serialization")
        source = spec.source.name if spec.source is not None else None
        self.view = View(spec.name, spec.entity, spec.ttl.total_seconds(), kinds(schema), source)
        self.features = self.plan.fields
        # Values of a former shape would not have the fields that readers now count on, so a view whose type has
        # changed starts empty; the former values expire by themselves. The same holds for values that are computed
        # by another text.
        made = of_view(spec) if spec.source is not None else json.dumps(bare(schema), sort_keys=True)
        layout = _WINDOWED_LAYOUT if self.plan.groups else _LAYOUT
        self.fingerprint = hashlib.sha256(f"{layout}{made}".encode()).hexdigest()[:16]

    def check(self, rows: Sequence[Row], now: datetime) -> tuple[list[Checked], list[FieldProblem]]:
        """The rows that are acceptable, and every fault of the others by its path."""
        checked: list[Checked] = []
        faults: list[FieldProblem] = []
        for index, row in enumerate(rows):
            path = f"$.rows[{index}]"
            found = [*key_faults(row.key, f"{path}.key"), *time_faults(row.at, now, f"{path}.at")]
            values, more = checked_values(self.spec.row, self.spec.entity, row, f"{path}.values")
            if found or more:
                faults += [*found, *more]
                continue
            checked.append(Checked(row.key, self._occurrence(micros(row.at), values), values))
        return checked, faults

    def _occurrence(self, at: int, values: Mapping[str, Any]) -> Occurrence:
        plain = tuple(inner(column.kind, values[column.name]) for column in self.plan.plain)
        return Occurrence(at, at, "", plain, ())

    def prefix(self, tenant: str) -> str:
        """What stands before an entity's key in the store."""
        return f"features/{tenant_digest(tenant)}/{self.name}/{self.fingerprint}/"


@lru_cache(maxsize=1024)
def tenant_digest(tenant: str) -> str:
    """A tenant's name at one length and without separators, so that it cannot reach into another's keys."""
    return hashlib.sha256(tenant.encode()).hexdigest()[:32]


def checked_values(
    kind: type[BaseModel], entity: str, row: Row, path: str
) -> tuple[dict[str, Any], list[FieldProblem]]:
    """A row's values as plain JSON of their declared type, or what is wrong with them."""
    held = row.values.get(entity, row.key) if entity in kind.model_fields else row.key
    if str(held) != row.key:
        return {}, [FieldProblem(f"{path}.{entity}", "must be the row's key")]
    try:
        # Through JSON, so that strict checking takes dates as text and yet no text for a number.
        text = json.dumps(dict(row.values), allow_nan=False)
        values = kind.model_validate_json(text, strict=True, extra="forbid").model_dump(mode="json", by_alias=True)
        _ENCODER.encode(values)
    except ValidationError as error:
        return {}, [FieldProblem(path + place(fault["loc"]), fault["msg"]) for fault in error.errors()]
    except OverflowError:
        return {}, [FieldProblem(path, "holds an integer of more than 64 bits")]
    except (ValueError, TypeError, RecursionError):
        return {}, [FieldProblem(path, "must be plain JSON with finite numbers")]
    return values, []


def key_faults(key: str, path: str) -> list[FieldProblem]:
    """What is wrong with an entity's key."""
    try:
        size = len(key.encode())
    except (UnicodeEncodeError, AttributeError):
        size = 0
    return [] if 1 <= size <= KEY_BYTES else [FieldProblem(path, f"must be 1 to {KEY_BYTES} bytes of UTF-8")]


def time_faults(at: datetime, now: datetime, path: str) -> list[FieldProblem]:
    """What is wrong with a row's moment."""
    if at.tzinfo is None:
        return [FieldProblem(path, "must name its offset from UTC")]
    if at > now + AHEAD:
        return [FieldProblem(path, "lies in the future")]
    return []


def place(location: Sequence[int | str]) -> str:
    """Where in a value a fault lies, as the end of a JSON path."""
    return "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location)


def kinds(schema: Mapping[str, Any]) -> dict[str, str]:
    """The JSON types of a schema's fields; several are joined by `|`."""
    definitions = schema.get("$defs", {})
    return {name: _kind(field, definitions) for name, field in schema.get("properties", {}).items()}


def _kind(field: Mapping[str, Json], definitions: Mapping[str, Any]) -> str:
    if "$ref" in field:
        return _kind(definitions[str(field["$ref"]).rpartition("/")[2]], definitions)
    for several in ("anyOf", "oneOf"):
        if several in field:
            options = cast(list[dict[str, Json]], field[several])  # JSON Schema: an array of schemas
            return "|".join(dict.fromkeys(_kind(option, definitions) for option in options))
    return str(field.get("type", "any"))
