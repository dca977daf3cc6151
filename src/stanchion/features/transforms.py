"""Transforms at request time: one function, called alike for a prediction and for a row of a training set."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, TypeAdapter, ValidationError

from ..core.errors import FieldProblem, Misconfigured, Unavailable
from ..core.values import Json
from .contract import OnDemandSpec, ViewSpec, feature_fields
from .rows import kinds, place

_PLAIN = (str, int, float, bool, type(None))
_encode = json.JSONEncoder(allow_nan=False).encode


class Transform:
    """A declared transform over the views it reads.

    It is given Python values of the declared types, whether they come as JSON or as a table's own values.
    """

    def __init__(self, spec: OnDemandSpec, views: Sequence[ViewSpec]) -> None:
        self.name = spec.name
        self.views = tuple(spec.views)
        self.fields = kinds(spec.output.model_json_schema(mode="serialization"))
        self.request_fields = tuple(spec.request.model_fields) if spec.request is not None else ()
        self.required = _required(spec.request)
        self.spec = spec
        self._inputs = tuple(field for view in views for field in feature_fields(view))
        self._typed = {
            field: _adapter(view.row, field)
            for view in views
            for field in feature_fields(view)
            if not _is_plain(view.row, field)
        }

    def request(self, given: Mapping[str, Any], path: str) -> tuple[dict[str, Any], list[FieldProblem]]:
        """The request's fields as the function gets them, or what is wrong with them by path.

        `given` may hold fields of other transforms. A value that is not JSON (a table's own) is taken by its type.
        """
        kind = self.spec.request
        if kind is None:
            return {}, []
        mine = {name: given[name] for name in self.request_fields if name in given}
        try:
            try:
                text = _encode(mine)
            except TypeError:
                return dict(kind.model_validate(mine, strict=True)), []
            return dict(kind.model_validate_json(text, strict=True)), []
        except ValidationError as error:
            return {}, [FieldProblem(path + place(fault["loc"]), fault["msg"]) for fault in error.errors()]
        except (ValueError, RecursionError):
            return {}, [FieldProblem(path, "must be plain JSON with finite numbers")]

    def none(self) -> dict[str, Json]:
        """What stands for the output where a view has no present value: the function is not called then."""
        return dict.fromkeys(self.fields)

    def compute(self, values: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Json]:
        """The output as plain JSON, numbers that are not finite as null.

        `values` are the fields of the views, all present; `request` is what `request` gave. Raises Unavailable if
        the function fails or gives something else than it declares.
        """
        inputs: dict[str, Any] = {field: values[field] for field in self._inputs}
        for field, adapter in self._typed.items():
            if inputs[field] is not None:
                inputs[field] = adapter.validate_python(inputs[field])
        inputs.update(request)
        try:
            made = self.spec.function(inputs)
        except Exception as error:
            raise Unavailable(
                f"the transform {self.name} failed with {type(error).__name__}",
                next_step="Make it give a value for every input that its types allow.",
            ) from error
        if not isinstance(made, self.spec.output):
            raise Unavailable(
                f"the transform {self.name} gave {type(made).__name__}, not {self.spec.output.__name__}",
                next_step="Make it give what its annotation says.",
            )
        return {name: _finite(value) for name, value in made.model_dump(mode="json").items()}


def transforms(specs: Sequence[OnDemandSpec], views: Mapping[str, ViewSpec]) -> dict[str, Transform]:
    """The declared transforms by name. Raises Misconfigured if two share a name."""
    made = {spec.name: Transform(spec, [views[name] for name in spec.views]) for spec in specs}
    if len(made) != len(specs):
        raise Misconfigured("two transforms have the same name", next_step="Rename one.")
    return made


def _required(request: type[BaseModel] | None) -> frozenset[str]:
    if request is None:
        return frozenset()
    return frozenset(name for name, field in request.model_fields.items() if field.is_required())


def _is_plain(row: type[BaseModel], field: str) -> bool:
    """Whether the JSON value is already the Python value."""
    kind = row.model_fields[field].annotation
    return kind in _PLAIN or all(option in _PLAIN for option in getattr(kind, "__args__", (object,)))


def _adapter(row: type[BaseModel], field: str) -> TypeAdapter[Any]:
    kind: Any = row.model_fields[field].annotation
    return TypeAdapter(kind)


def _finite(value: Json) -> Json:
    return None if isinstance(value, float) and not math.isfinite(value) else value
