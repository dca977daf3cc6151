"""A model of named fields seen as tensors: one for each field, or one matrix, as clients send frames and arrays."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from ...core.errors import FieldProblem, InvalidInput, PayloadTooLarge, Unavailable
from ...core.values import Json
from ..contract.tensors import Number, Tensor, TensorSpec

Kind = Literal["number", "integer", "boolean", "text", "json"]
_DATATYPES: Mapping[Kind, str] = {
    "number": "FP64", "integer": "INT64", "boolean": "BOOL", "text": "BYTES", "json": "BYTES",
}  # fmt: skip
_WHOLE = {f"{sign}INT{bits}" for sign in ("", "U") for bits in (8, 16, 32, 64)}
_FLOATS = {"FP16", "FP32", "FP64"}
# The datatypes that a field takes, and the type whose values it takes as they are.
_TAKEN: Mapping[Kind, set[str]] = {
    "number": _FLOATS | _WHOLE,
    "integer": _FLOATS | _WHOLE,
    "boolean": {"BOOL"} | _WHOLE,
    "text": {"BYTES"},
    "json": {"BYTES"},
}
_EXACT: Mapping[Kind, type] = {"number": float, "integer": int, "boolean": bool, "text": str}
_NOTHING: tuple[type | None, set[str]] = (None, set())
_MOST_ROWS = 10_000
_ONE_ROW = ((1, 1), (1,))


@dataclass(frozen=True, slots=True)
class Field:
    """One property of a schema; `choices` are the texts of an enum, `plain` says that no role marks it."""

    name: str
    kind: Kind
    nullable: bool
    choices: tuple[str, ...]
    required: bool
    plain: bool

    @property
    def datatype(self) -> str:
        """Its Open Inference datatype. A whole number that may be absent is FP64: INT64 has nothing for absent."""
        return "FP64" if self.nullable and self.kind == "integer" else _DATATYPES[self.kind]


class Fields:
    """The input and output fields of one served model as tensors."""

    def __init__(self, input_schema: Mapping[str, Any], output_schema: Mapping[str, Any]) -> None:
        self._inputs = {field.name: field for field in _fields(input_schema)}
        self._outputs = {field.name: field for field in _fields(output_schema)}
        matrix = [field for field in self._inputs.values() if field.plain]
        self._matrix = matrix if all(f.kind != "json" and (f.kind != "text" or f.choices) for f in matrix) else []
        self._columns = [field.name for field in self._matrix]
        # What one element of an input is taken as it is, and what one of an output is told as it is.
        self._as_is = {f.name: (_EXACT.get(f.kind), _TAKEN[f.kind]) for f in self._inputs.values()}
        self._told = {f.name: (f, f.datatype, _exact(f)) for f in self._outputs.values()}
        self._all = [*self._outputs]
        self._numbers_only = all(field.kind == "number" for field in self._matrix)
        self.inputs = tuple(TensorSpec(f.name, f.datatype, (-1, 1)) for f in self._inputs.values())
        self.outputs = tuple(TensorSpec(f.name, f.datatype, (-1, 1)) for f in self._outputs.values())

    @property
    def parameters(self) -> Mapping[str, Json]:
        """What the specs cannot say: inputs that may be left out, and the columns of the one matrix if it is taken."""
        optional: list[Json] = [field.name for field in self._inputs.values() if not field.required]
        columns: list[Json] = [*self._columns]
        return {"optional": optional, "matrix": bool(columns), "columns": columns}

    @property
    def structured(self) -> list[str]:
        """The fields, in and out, that are lists, objects or unions."""
        return [f.name for f in (*self._inputs.values(), *self._outputs.values()) if f.kind == "json"]

    def instances(self, tensors: Sequence[Tensor]) -> list[dict[str, Json]]:
        """The rows of a request. Raises InvalidInput with the place of the fault, PayloadTooLarge."""
        if not tensors:
            raise _fault("$.inputs", "Give at least one tensor")
        if (only := self._only(tensors)) is not None:
            return [only]
        rows = tensors[0].shape[0] if tensors[0].shape else 0
        if rows < 1:
            raise _fault("$.inputs[0].shape", "Expected at least one row")
        if rows > _MOST_ROWS:
            raise PayloadTooLarge(f"{rows} rows are more than {_MOST_ROWS} in one call")
        made: list[dict[str, Json]] = [{} for _ in range(rows)]
        seen: set[str] = set()
        for place, tensor in enumerate(tensors):
            path = f"$.inputs[{place}]"
            if tensor.name in seen:
                raise _fault(f"{path}.name", "Given twice")
            seen.add(tensor.name)
            field = self._inputs.get(tensor.name)
            if field is not None:
                self._column(field, tensor, made, path)
            elif self._matrix and len(tensor.shape) == 2:
                self._rows(tensor, made, path)
            else:
                raise _fault(f"{path}.name", "The model has no such input")
        return made

    def _only(self, tensors: Sequence[Tensor]) -> dict[str, Json] | None:
        """The row of a request of one, each of whose elements its field takes as it is; None for any other request."""
        made: dict[str, Json] = {}
        for tensor in tensors:
            name, data = tensor.name, tensor.data
            exact, datatypes = self._as_is.get(name, _NOTHING)
            if data is None or len(data) != 1 or tensor.shape not in _ONE_ROW or tensor.datatype not in datatypes:
                return None
            [value] = data
            if value.__class__ is not exact or (exact is float and not math.isfinite(cast(float, value))):
                return None
            made[name] = value
        # One that came twice is told by its place.
        return made if len(made) == len(tensors) else None

    def _column(self, field: Field, tensor: Tensor, made: list[dict[str, Json]], path: str) -> None:
        if tensor.shape not in ((len(made),), (len(made), 1)):
            raise _fault(f"{path}.shape", f"Expected [{len(made)}, 1]: one value for each row")
        values = _values(tensor, path, len(made))
        if tensor.datatype not in _TAKEN[field.kind]:
            raise _fault(f"{path}.datatype", f"Expected {field.datatype}")
        if _fits(field.kind, values):
            for instance, value in zip(made, values, strict=True):
                instance[field.name] = value
            return
        convert = _converter(field, path)
        for row, (instance, value) in enumerate(zip(made, values, strict=True)):
            given = convert(value, row)
            if given is not None or field.nullable:
                instance[field.name] = given

    def _rows(self, tensor: Tensor, made: list[dict[str, Json]], path: str) -> None:
        columns = self._matrix
        if tensor.datatype not in _FLOATS | _WHOLE:
            raise _fault(f"{path}.datatype", "Expected numbers")
        if tensor.shape != (len(made), len(columns)):
            raise _fault(f"{path}.shape", f"Expected [{len(made)}, {len(columns)}]: one column for each feature")
        values = _values(tensor, path, len(made) * len(columns))
        if self._numbers_only and _fits("number", values):
            for row, instance in enumerate(made):
                start = row * len(columns)
                instance.update(zip(self._columns, values[start : start + len(columns)], strict=True))
            return
        convert = [_placed(column, path) for column in columns]
        for row, instance in enumerate(made):
            start = row * len(columns)
            for place, (column, value) in enumerate(zip(columns, values[start : start + len(columns)], strict=True)):
                given = convert[place](value, start + place)
                # NaN is an absent value: the field's default stands in, as it would for an absent field.
                if given is not None:
                    instance[column.name] = given

    def place_of(self, path: str, tensors: Sequence[Tensor], row: int) -> str:
        """Where in a request the fault of a field of one row lies; `path` is such as `$.features.months`."""
        name = path.partition(".")[2].partition(".")[2].partition(".")[0].partition("[")[0]
        for place, tensor in enumerate(tensors):
            if tensor.name == name:
                return f"$.inputs[{place}].data[{row}]"
            if tensor.name not in self._inputs and name in self._columns:
                return f"$.inputs[{place}].data[{row * len(self._columns) + self._columns.index(name)}]"
        return "$.inputs"

    def chosen(self, wanted: Sequence[str]) -> Sequence[str]:
        """The outputs asked for, or all. Raises InvalidInput for an unknown name."""
        for place, name in enumerate(wanted):
            if name not in self._outputs:
                raise _fault(f"$.outputs[{place}].name", "The model has no such output")
        return wanted or self._all

    def tensors(self, rows: Sequence[Mapping[str, Json]], names: Sequence[str]) -> tuple[Tensor, ...]:
        """These outputs of answered rows, which are among those of the model."""
        return tuple([self._output(name, rows) for name in names])

    def _output(self, name: str, rows: Sequence[Mapping[str, Json]]) -> Tensor:
        field, datatype, exact = self._told[name]
        if len(rows) == 1 and (value := rows[0].get(name)).__class__ is exact:
            return Tensor(name, datatype, (1, 1), (cast(Number, value),))
        values = tuple([row.get(name) for row in rows])
        if exact is None or not {exact}.issuperset(map(type, values)):
            values = tuple([_told(field, value) for value in values])
        # Where every value is of the very type, or was made so, it is an element.
        return Tensor(name, datatype, (len(rows), 1), cast(tuple[Number, ...], values))


def _exact(field: Field) -> type | None:
    """The type whose values are told as they are; a whole number that may be absent is told as FP64."""
    return None if field.kind == "integer" and field.nullable else _EXACT.get(field.kind)


def _told(field: Field, value: Json) -> Number:
    if field.kind == "json" or (value is None and field.kind == "text"):
        return "" if value is None else json.dumps(value)
    if value is None:
        if field.datatype != "FP64":
            raise Unavailable(f"the answer has no {field.name}")
        return math.nan
    if not isinstance(value, bool | int | float | str):
        raise Unavailable(f"the answer's {field.name} is no {field.kind}")
    return float(value) if field.datatype == "FP64" else value


def _values(tensor: Tensor, path: str, count: int) -> Sequence[Number]:
    values = tensor.values()
    if len(values) != count:
        raise _fault(f"{path}.data", f"The shape holds {count} elements, and {len(values)} came")
    return values


def _fits(kind: Kind, values: Sequence[Number]) -> bool:
    """Whether all values are such as the field takes, so that none has to be looked at for itself."""
    exact = _EXACT.get(kind)
    if exact is None or not {exact}.issuperset(map(type, values)):
        return False
    # A sum is not finite if one of its numbers is not; one that only grew too large is looked at the longer way.
    return exact is not float or math.isfinite(sum(cast(Sequence[float], values)))


def _converter(field: Field, path: str) -> Callable[[Number, int], Json]:
    """Reads one element as the field's type. Numbers of any width are taken, as long as nothing is lost."""

    def read(value: Number, place: int) -> Json:
        if field.kind == "text":
            return str(value)
        if field.kind == "json":
            try:
                found: Json = json.loads(str(value))
            except ValueError as error:
                raise _fault(f"{path}.data[{place}]", "Expected JSON") from error
            return found
        return _number(field, value, f"{path}.data[{place}]")

    return read


def _placed(field: Field, path: str) -> Callable[[Number, int], Json]:
    """Reads one cell of the matrix; a declared text is its place in the list of its schema."""

    def read(value: Number, place: int) -> Json:
        if field.kind != "text":
            return _number(field, value, f"{path}.data[{place}]")
        whole = _number(Field("", "integer", True, (), True, True), value, f"{path}.data[{place}]")
        if not isinstance(whole, int):
            return None
        if not 0 <= whole < len(field.choices):
            raise _fault(f"{path}.data[{place}]", f"Expected a place from 0 to {len(field.choices) - 1}")
        return field.choices[whole]

    return read


def _number(field: Field, value: Number, path: str) -> Json:
    if isinstance(value, str):
        raise _fault(path, "Expected a number")
    if isinstance(value, float) and math.isnan(value):
        return None
    if field.kind == "number":
        if not math.isfinite(value):
            raise _fault(path, "Expected a finite number")
        return float(value)
    if value != value // 1:
        raise _fault(path, "Expected a whole number")
    if field.kind == "boolean":
        if value not in (0, 1):
            raise _fault(path, "Expected true or false, as 1 or 0")
        return bool(value)
    return int(value)


def _fields(schema: Mapping[str, Any]) -> list[Field]:
    defs, required = schema.get("$defs", {}), set(schema.get("required", ()))
    return [_field(name, each, defs, name in required) for name, each in schema.get("properties", {}).items()]


def _field(name: str, schema: Mapping[str, Any], defs: Mapping[str, Any], required: bool) -> Field:
    branches = [_followed(each, defs) for each in schema.get("anyOf", [schema])]
    real = [each for each in branches if each.get("type") != "null"]
    nullable, plain = len(real) < len(branches), "role" not in schema
    if len(real) != 1:
        return Field(name, "json", nullable, (), required, plain)
    [one] = real
    values = one.get("enum", [one["const"]] if "const" in one else ())
    choices = tuple(v for v in values if isinstance(v, str))
    kinds: Mapping[str, Kind] = {
        "number": "number",
        "integer": "integer",
        "boolean": "boolean",
        "string": "text",
    }
    kind = kinds.get(str(one.get("type")), "text" if choices and len(choices) == len(values) else "json")
    return Field(name, kind, nullable, choices, required, plain)


def _followed(schema: Mapping[str, Any], defs: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = schema.get("$ref")
    found: Mapping[str, Any] = defs.get(str(reference).rsplit("/", 1)[-1], {}) if reference else schema
    return found


def _fault(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
