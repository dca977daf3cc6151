"""Named tensors as the Open Inference Protocol knows them, in one form that travels: numbers, or raw bytes.

Source: Open Inference Protocol, https://github.com/kserve/open-inference-protocol (tensor data types, binary data).
"""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, get_args

from ...core.errors import FieldProblem, InvalidInput

Datatype = Literal[
    "BOOL",
    "UINT8",
    "UINT16",
    "UINT32",
    "UINT64",
    "INT8",
    "INT16",
    "INT32",
    "INT64",
    "FP16",
    "FP32",
    "FP64",
    "BYTES",
]
Number = bool | int | float | str

DATATYPES: frozenset[str] = frozenset(get_args(Datatype))
# struct's letters, little-endian: what the protocol's binary form holds, row after row.
_LETTERS = {
    "BOOL": "?",
    "UINT8": "B",
    "UINT16": "H",
    "UINT32": "I",
    "UINT64": "Q",
    "INT8": "b",
    "INT16": "h",
    "INT32": "i",
    "INT64": "q",
    "FP16": "e",
    "FP32": "f",
    "FP64": "d",
}
_SHORTENED = 32


@dataclass(frozen=True, slots=True)
class TensorSpec:
    """One input or output of a model: Open Inference datatype, and shape where -1 stands for any size."""

    name: str
    datatype: str
    shape: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One named tensor, row-major. Exactly one of `data` and `raw` holds it; both None or empty is an empty tensor.

    `data` are its numbers (texts for BYTES), flat. `raw` is the protocol's binary form: little-endian, BOOL one
    byte each, BYTES each behind its length as 4 bytes. Nothing is checked here: `infer` checks what it is given.
    """

    name: str
    datatype: str
    shape: tuple[int, ...]
    data: tuple[Number, ...] | None = None
    raw: bytes = b""

    def values(self) -> Sequence[Number]:
        """Its numbers, flat; BYTES as text. Raises InvalidInput where `raw` does not fit datatype and shape."""
        if self.data is not None:
            return self.data
        if self.datatype == "BYTES":
            return [_text(each, self.name) for each in unpacked_bytes(self.raw, self.name)]
        letter = _LETTERS.get(self.datatype)
        if letter is None:
            raise _fault(self.name, f"has the datatype {self.datatype[:_SHORTENED]}, which is not one of the protocol")
        size = struct.calcsize(letter)
        if len(self.raw) % size:
            raise _fault(self.name, f"holds {len(self.raw)} bytes, which is no whole number of {self.datatype}")
        return struct.unpack(f"<{len(self.raw) // size}{letter}", self.raw)

    def binary(self) -> bytes:
        """Its content in the protocol's binary form. Raises InvalidInput where `data` does not fit the datatype."""
        if self.data is None:
            return self.raw
        try:
            if self.datatype == "BYTES":
                return packed_bytes([str(each).encode() for each in self.data])
            return struct.pack(f"<{len(self.data)}{_LETTERS[self.datatype]}", *self.data)
        except (struct.error, KeyError, TypeError, OverflowError, UnicodeError) as error:
            raise _fault(self.name, f"holds something that is no {self.datatype[:_SHORTENED]}") from error

    @property
    def elements(self) -> int:
        """How many numbers its shape speaks of."""
        return math.prod(self.shape)


def packed_bytes(items: Sequence[bytes]) -> bytes:
    """BYTES elements in binary form: each behind its length, 4 bytes little-endian."""
    return b"".join(struct.pack("<I", len(each)) + each for each in items)


def unpacked_bytes(raw: bytes, name: str = "tensor") -> list[bytes]:
    """The BYTES elements of a binary form. Raises InvalidInput where a length does not fit."""
    found, place = [], 0
    while place < len(raw):
        if place + 4 > len(raw):
            raise _fault(name, "ends inside the length of an element")
        [length] = struct.unpack_from("<I", raw, place)
        place += 4
        if place + length > len(raw):
            raise _fault(name, "has an element that is longer than what is left of it")
        found.append(raw[place : place + length])
        place += length
    return found


def _text(element: bytes, name: str) -> str:
    try:
        return element.decode()
    except UnicodeDecodeError as error:
        raise _fault(name, "has an element that is no UTF-8, which numbers and texts cannot hold") from error


def _fault(name: str, message: str) -> InvalidInput:
    return InvalidInput(f"the tensor {name[:_SHORTENED]} {message}", fields=[FieldProblem("$.inputs", message)])
