"""The elements of a tensor in JSON: flat or nested as its shape is, and of the very type that the datatype names."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import msgspec

from ...core.errors import FieldProblem, InvalidInput
from ...core.http.routes import fault
from ..contract.tensors import DATATYPES, Number

_MOST_DIMENSIONS = 16
_KINDS: dict[str, type[bool] | type[str] | type[float] | type[int]] = {
    "BOOL": bool,
    "BYTES": str,
    "FP16": float,
    "FP32": float,
    "FP64": float,
}
_KIND_OF = {datatype: _KINDS.get(datatype, int) for datatype in DATATYPES}
_ONE = (1, 1)
_SHORTENED = 32
_HEAD = 512
_SPACES = (b" ", b"\t", b"\r", b"\n")


class _Reader:
    """The decoders of one element type: of a flat list, of a list of rows, and a check of what is nested deeper."""

    def __init__(self, kind: type) -> None:
        self.flat = msgspec.json.Decoder(_list_of(kind)).decode
        self.rows = msgspec.json.Decoder(_list_of(_list_of(kind))).decode
        self.list = _list_of(kind)


def _list_of(kind: Any) -> Any:
    # Made at run time, which no type checker can follow.
    return list.__class_getitem__(kind)


_READERS = {kind: _Reader(kind) for kind in (bool, str, float, int)}


def check_shape(shape: Sequence[int], path: str) -> None:
    """Raises InvalidInput if the shape has too many dimensions or a negative one."""
    if len(shape) > _MOST_DIMENSIONS:
        raise _refused(f"{path}.shape", f"Expected at most {_MOST_DIMENSIONS} dimensions")
    if shape and min(shape) < 0:
        place = next(place for place, size in enumerate(shape) if size < 0)
        raise _refused(f"{path}.shape[{place}]", "Expected 0 or more")


def check_datatype(datatype: str, path: str) -> None:
    """Raises InvalidInput for a name that is none of the protocol's, or that cannot be held here."""
    if datatype not in DATATYPES:
        raise _refused(f"{path}.datatype", f"Expected one of {', '.join(sorted(DATATYPES))}")


def elements(raw: msgspec.Raw, datatype: str, shape: Sequence[int], path: str) -> tuple[Number, ...]:
    """The elements in row-major order. Raises InvalidInput with the place of the first that is of another type.

    A nested list must have the very shape; of a flat one only the sizes are compared where the tensor is used.
    """
    reader = _READERS[_KINDS.get(datatype, int)]
    # Some clients indent what they send.
    head = bytes(memoryview(raw)[:2])
    if head[1:] in _SPACES:
        head = bytes(memoryview(raw)[:_HEAD]).translate(None, b" \t\r\n")[:2]
    try:
        # A list of rows is what most clients send, a flat list what the protocol prefers: neither needs a second look.
        if head == b"[[" and len(shape) == 2:
            rows = reader.rows(raw)
            _check_rows(rows, shape, path)
            return tuple(chain.from_iterable(rows))
        if head != b"[[":
            return tuple(reader.flat(raw))
        flat: list[object] = []
        _flatten(msgspec.json.decode(raw), shape, f"{path}.data", flat)
        checked: list[Number] = msgspec.convert(flat, reader.list)
        return tuple(checked)
    except msgspec.ValidationError as error:
        problem = fault(error, root=f"{path}.data")
        raise _refused(problem.path, f"{problem.message}, as the datatype is {datatype[:_SHORTENED]}") from error


def plain_elements(data: Sequence[Any], datatype: str, shape: Sequence[int]) -> tuple[Number, ...] | None:
    """The elements of a decoded list, flat or of rows as the shape says, if each is of the very type; else None."""
    kind = _KIND_OF.get(datatype)
    if kind is None:
        return None
    if len(data) == 1:
        # A call of one row, which most are.
        [one] = data
        if one.__class__ is list and len(one) == 1 and shape == _ONE:
            [one] = one
        if one.__class__ is kind:
            return (one,)
    if data and data[0].__class__ is list:
        rows, width = shape if len(shape) == 2 else (-1, 0)
        if len(data) != rows or not all(row.__class__ is list and len(row) == width for row in data):
            return None
        data = list(chain.from_iterable(data))
    if {kind}.issuperset(map(type, data)):
        return tuple(data)
    # A float that has no fraction is written as an integer by many.
    if kind is float and {float, int}.issuperset(map(type, data)):
        try:
            return tuple(map(float, data))
        except OverflowError:
            return None
    return None


def _check_rows(rows: Sequence[Sequence[object]], shape: Sequence[int], path: str) -> None:
    if len(rows) != shape[0]:
        raise _refused(f"{path}.data", f"Expected {shape[0]} rows as the shape says, not {len(rows)}")
    for place, row in enumerate(rows):
        if len(row) != shape[1]:
            raise _refused(f"{path}.data[{place}]", f"Expected {shape[1]} elements as the shape says, not {len(row)}")


def _flatten(value: object, shape: Sequence[int], path: str, into: list[object]) -> None:
    if not shape:
        into.append(value)
        return
    if not isinstance(value, list):
        raise _refused(path, "Expected a list as the shape says")
    if len(value) != shape[0]:
        raise _refused(path, f"Expected {shape[0]} elements as the shape says, not {len(value)}")
    for place, each in enumerate(value):
        _flatten(each, shape[1:], f"{path}[{place}]", into)


def _refused(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
