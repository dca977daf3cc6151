"""What a definition is, in one text and one digest: the same definition gives the same on every machine."""

from __future__ import annotations

import hashlib
import inspect
import json
import textwrap
from collections.abc import Callable, Sequence
from datetime import timedelta
from typing import Any

from pydantic import BaseModel

from ..core.values import Json
from .contract import OnDemandSpec, ServiceSpec, SourceSpec, ViewSpec

_MICROSECOND = timedelta(microseconds=1)


def of_view(spec: ViewSpec) -> str:
    """The view's definition as canonical JSON: type, entity, lifetime, and where each field comes from."""
    return _text(
        {
            "name": spec.name,
            "entity": spec.entity,
            "ttl": spec.ttl // _MICROSECOND,
            "row": _schema(spec.row),
            "source": _source(spec.source),
            "select": dict(spec.select),
            "limit": spec.limit,
            "aggregates": {
                name: [each.function, each.window // _MICROSECOND, each.column, _micros(each.hop)]
                for name, each in spec.aggregates.items()
            },
        }
    )


def of_service(spec: ServiceSpec, views: Sequence[ViewSpec], on_demand: Sequence[OnDemandSpec]) -> str:
    """16 hex digits that change with the service and with any definition it reads; prose changes nothing."""
    parts: list[Json] = [spec.name, *map(of_view, views), *map(_transform, on_demand)]
    return hashlib.sha256(_text(parts).encode()).hexdigest()[:16]


def bare(schema: Json) -> Json:
    """The schema without its prose. A field may be called `title`: then a schema stands there, not a text."""
    if isinstance(schema, list):
        return [bare(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    prose = {"title": str, "description": str, "examples": list}
    return {key: bare(value) for key, value in schema.items() if not isinstance(value, prose.get(key, ()))}


def _source(spec: SourceSpec | None) -> Json:
    if spec is None:
        return None
    # The type's columns in use stand in the view's own definition; where the rows lie does not change what they are.
    return [spec.name, spec.time, spec.known, spec.event, _schema(spec.row)]


def _transform(spec: OnDemandSpec) -> str:
    request = _schema(spec.request) if spec.request is not None else None
    return _text([spec.name, list(spec.views), request, _schema(spec.output), _body(spec.function)])


def _body(function: Callable[..., Any]) -> str:
    """The function's own text; where there is none (made at run time), its byte code."""
    plain = inspect.unwrap(function)
    try:
        return textwrap.dedent(inspect.getsource(plain))
    except (OSError, TypeError):
        code = getattr(plain, "__code__", None)
        return repr(plain) if code is None else repr((code.co_code, code.co_consts, code.co_names))


def _micros(span: timedelta | None) -> int | None:
    return None if span is None else span // _MICROSECOND


def _schema(row: type[BaseModel]) -> Json:
    return bare(row.model_json_schema(mode="serialization"))


def _text(value: Json) -> str:
    return json.dumps(value, sort_keys=True)
