"""Tensors as numpy arrays and back, checked against what a graph takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy

from ...core.errors import FieldProblem, InvalidInput, PayloadTooLarge, Unavailable
from ..contract.tensors import Tensor, TensorSpec, packed_bytes, unpacked_bytes

Array = numpy.ndarray[Any, numpy.dtype[Any]]

# The most elements of one tensor: 64 Mi numbers of 8 bytes are half a gibibyte.
MOST_ELEMENTS = 1 << 26
MOST_DIMENSIONS = 16
_TYPES: Mapping[str, numpy.dtype[Any]] = {
    "BOOL": numpy.dtype("?"),
    "UINT8": numpy.dtype("<u1"),
    "UINT16": numpy.dtype("<u2"),
    "UINT32": numpy.dtype("<u4"),
    "UINT64": numpy.dtype("<u8"),
    "INT8": numpy.dtype("<i1"),
    "INT16": numpy.dtype("<i2"),
    "INT32": numpy.dtype("<i4"),
    "INT64": numpy.dtype("<i8"),
    "FP16": numpy.dtype("<f2"),
    "FP32": numpy.dtype("<f4"),
    "FP64": numpy.dtype("<f8"),
    "BYTES": numpy.dtype(object),
}
_NAMES = {kind: name for name, kind in _TYPES.items()}
_SHOWN = 32


def dtype_of(datatype: str) -> numpy.dtype[Any]:
    """The numpy type of an Open Inference datatype; BYTES are objects. Raises KeyError."""
    return _TYPES[datatype]


def datatype_of(array: Array) -> str:
    """The Open Inference datatype of an array. Raises KeyError for a type that the protocol lacks."""
    if array.dtype.kind in "USO":
        return "BYTES"
    return _NAMES[array.dtype.newbyteorder("<")]


def matches(shape: Sequence[int], wanted: Sequence[int]) -> bool:
    """Whether a shape is one that the wanted one allows, where -1 is any size."""
    return len(shape) == len(wanted) and all(w in (-1, s) for s, w in zip(shape, wanted, strict=True))


def array_of(tensor: Tensor, path: str = "$.inputs") -> Array:
    """A tensor's array, of its own datatype and shape; BYTES are objects: bytes, or str where they came as text.

    Raises InvalidInput with the place of the fault under `path`, and PayloadTooLarge.
    """
    kind = _TYPES.get(tensor.datatype)
    if kind is None:
        raise _fault(f"{path}.datatype", f"{tensor.datatype[:_SHOWN]!r} is not one of {', '.join(_TYPES)}")
    if len(tensor.shape) > MOST_DIMENSIONS or any(size < 0 for size in tensor.shape):
        raise _fault(f"{path}.shape", f"Expected at most {MOST_DIMENSIONS} sizes, none of them negative")
    if tensor.elements > MOST_ELEMENTS:
        raise PayloadTooLarge(f"the tensor {tensor.name[:_SHOWN]} has more than {MOST_ELEMENTS} elements")
    flat = _flat(tensor, kind, path)
    if flat.size != tensor.elements:
        raise _fault(f"{path}.shape", f"The shape holds {tensor.elements} elements, and {flat.size} came")
    return flat.reshape(tensor.shape)


def _flat(tensor: Tensor, kind: numpy.dtype[Any], path: str) -> Array:
    if tensor.data is None:
        if kind == numpy.dtype(object):
            return _objects(unpacked_bytes(tensor.raw, tensor.name))
        if len(tensor.raw) % kind.itemsize:
            raise _fault(f"{path}.data", f"{len(tensor.raw)} bytes are no whole number of {tensor.datatype}")
        return numpy.frombuffer(tensor.raw, dtype=kind)
    if kind == numpy.dtype(object):
        if not all(isinstance(each, str) for each in tensor.data):
            raise _fault(f"{path}.data", "Expected texts only")
        return _objects(tensor.data)
    return _numbers(tensor, kind, path)


def _numbers(tensor: Tensor, kind: numpy.dtype[Any], path: str) -> Array:
    """Numbers as they came: none is rounded to fit an integer type, and no text is read as one."""
    given = tensor.data or ()
    wrong = "Expected booleans only" if kind.kind == "b" else "Expected numbers only"
    accepted = bool if kind.kind == "b" else (int, float)
    if not all(isinstance(each, accepted) and isinstance(each, bool) == (kind.kind == "b") for each in given):
        raise _fault(f"{path}.data", wrong)
    try:
        if kind.kind in "iu":
            whole = [int(each) for each in given]
            if any(a != b for a, b in zip(whole, given, strict=True)):
                raise _fault(f"{path}.data", f"Expected whole numbers for {tensor.datatype}")
            return numpy.array(whole, dtype=kind)
        with numpy.errstate(over="ignore"):
            return numpy.array(given, dtype=kind)
    except (OverflowError, ValueError) as error:
        raise _fault(f"{path}.data", f"A number is beyond what {tensor.datatype} holds") from error


def _objects(items: Sequence[object]) -> Array:
    made = numpy.empty(len(items), dtype=object)
    made[:] = items
    return made


def tensor_of(name: str, array: Array, *, binary: bool) -> Tensor:
    """An array as a tensor. Raises Unavailable for a type that the protocol lacks: a graph gave it, not a caller."""
    try:
        datatype = datatype_of(array)
    except KeyError as error:
        raise Unavailable(f"the output {name} has the type {array.dtype}, which no tensor can have") from error
    shape = tuple(array.shape)
    if datatype == "BYTES":
        items = [each if isinstance(each, bytes) else str(each).encode() for each in array.ravel().tolist()]
        if binary:
            return Tensor(name, datatype, shape, raw=packed_bytes(items))
        return Tensor(name, datatype, shape, data=tuple(each.decode(errors="replace") for each in items))
    little = numpy.ascontiguousarray(array, dtype=array.dtype.newbyteorder("<"))
    if binary:
        return Tensor(name, datatype, shape, raw=little.tobytes())
    return Tensor(name, datatype, shape, data=tuple(little.ravel().tolist()))


def taken(tensors: Sequence[Tensor], specs: Sequence[TensorSpec]) -> dict[str, Array]:
    """The arrays of a request, by name, as a graph with these inputs takes them.

    Raises InvalidInput for every fault at once: unknown, missing, twice, another datatype, another shape.
    """
    wanted = {spec.name: spec for spec in specs}
    found: dict[str, Array] = {}
    faults: list[FieldProblem] = []
    for place, tensor in enumerate(tensors):
        path = f"$.inputs[{place}]"
        spec = wanted.get(tensor.name)
        if spec is None or tensor.name in found:
            why = "The model has no such input" if spec is None else "Given twice"
            faults.append(FieldProblem(f"{path}.name", why))
        elif tensor.datatype != spec.datatype:
            faults.append(FieldProblem(f"{path}.datatype", f"Expected {spec.datatype}"))
        elif not matches(tensor.shape, spec.shape):
            faults.append(FieldProblem(f"{path}.shape", f"Expected {list(spec.shape)}, where -1 is any size"))
        else:
            found[tensor.name] = array_of(tensor, path)
    named = {tensor.name for tensor in tensors}
    faults += [
        FieldProblem("$.inputs", f"The input {spec.name} is missing") for spec in specs if spec.name not in named
    ]
    if faults:
        raise InvalidInput(f"{faults[0].path}: {faults[0].message}", fields=faults)
    return found


def untold(tensors: Sequence[Tensor]) -> dict[str, Array]:
    """The arrays of a request for a model that does not tell what it takes. Raises InvalidInput."""
    found = {each.name: array_of(each, f"$.inputs[{place}]") for place, each in enumerate(tensors)}
    if not found or len(found) < len(tensors):
        raise _fault("$.inputs", "Expected tensors, each once")
    return found


def chosen(outputs: Sequence[str], specs: Sequence[TensorSpec]) -> list[str]:
    """The names of the outputs to compute: those asked for, or all. Raises InvalidInput for an unknown one."""
    names = [spec.name for spec in specs]
    for place, name in enumerate(outputs):
        if name not in names:
            raise _fault(f"$.outputs[{place}].name", "The model has no such output")
    return list(outputs) or names


def _fault(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
