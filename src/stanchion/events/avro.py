"""Whether data are data of an Avro schema, in its binary encoding or in its JSON encoding, and if not, where and why.

Source: Apache Avro 1.12 specification, "Data Serialization". Logical types are held to the types below them. A datum
stands alone: without the header of an object container or of the single-object encoding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from ..core.errors import FieldProblem
from .schemas.avro import AvroSchema, Schema, parse

DEEPEST = 100
MOST_VALUES = 1_000_000
"""An array of nulls takes no bytes: without a limit a few would keep the reader busy for ever."""
_RANGES = {"int": 1 << 31, "long": 1 << 63}
_FIXED = {"float": 4, "double": 8}
_NO_NUMBERS = frozenset({"NaN", "Infinity", "-Infinity"})


class _Unfit(Exception):
    """Data do not fit at a path."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.problem = FieldProblem(path, message)


def faults(text: str, data: bytes | None, content_type: str, here: str) -> Iterator[FieldProblem]:
    """The first thing by which data do not fit the schema, with its path below `here`; none where they fit.

    Which encoding it is `content_type` tells; no data are null.
    """
    schema = _schema(text)
    try:
        if data is None or "json" in content_type:
            _Json(schema).value(schema.root, None if data is None else msgspec.json.decode(data), here, 0)
        elif "avro" in content_type:
            _Binary(schema, data).whole(here)
        else:
            yield FieldProblem(here, f"are {content_type[:60]} and no Avro")
    except (msgspec.DecodeError, RecursionError):
        yield FieldProblem(here, "are no JSON")
    except _Unfit as unfit:
        yield unfit.problem


@lru_cache(maxsize=256)
def _schema(text: str) -> AvroSchema:
    return parse(text)


class _Binary:
    """Reads one datum without keeping it."""

    def __init__(self, schema: AvroSchema, data: bytes) -> None:
        self._schema = schema
        self._data = data
        self._at = 0
        self._values = 0
        self._kinds: Mapping[str, Callable[[Schema, str, int], None]] = {
            "record": self._record, "union": self._union, "array": self._items, "map": self._items,
            "enum": self._enum, "string": self._string, "boolean": self._boolean,
        }  # fmt: skip

    def whole(self, path: str) -> None:
        """Return if the data are one datum and nothing more."""
        self._value(self._schema.root, path, 0)
        if self._at < len(self._data):
            raise _Unfit(path, f"have {len(self._data) - self._at} bytes more than the schema reads")

    def _value(self, node: Schema, path: str, depth: int) -> None:
        self._values += 1
        if depth > DEEPEST or self._values > MOST_VALUES:
            raise _too_much(path)
        node = self._schema.deref(node)
        kind = node["type"]
        if kind in self._kinds:
            self._kinds[kind](node, path, depth + 1)
        elif kind in _RANGES:
            self._long(path, _RANGES[kind])
        elif kind == "bytes":
            self._take(path, self._long(path))
        elif kind != "null":
            self._take(path, node["size"] if kind == "fixed" else _FIXED[kind])

    def _record(self, node: Schema, path: str, depth: int) -> None:
        for each in node["fields"]:
            self._value(each["type"], f"{path}.{each['name']}", depth)

    def _union(self, node: Schema, path: str, depth: int) -> None:
        self._value(node["branches"][self._index(path, len(node["branches"]))], path, depth)

    def _items(self, node: Schema, path: str, depth: int) -> None:
        number = 0
        while (count := self._long(path)) != 0:
            if count < 0:
                # The block's length in bytes follows, for who wants to pass over it.
                count, _ = -count, self._long(path)
            for _ in range(count):
                if node["type"] == "map":
                    self._string(node, path, depth)
                self._value(node["values" if node["type"] == "map" else "items"], f"{path}[{number}]", depth)
                number += 1

    def _enum(self, node: Schema, path: str, depth: int) -> None:
        self._index(path, len(node["symbols"]))

    def _string(self, node: Schema, path: str, depth: int) -> None:
        try:
            self._take(path, self._long(path)).decode()
        except UnicodeDecodeError:
            raise _Unfit(path, "is no text in UTF-8") from None

    def _boolean(self, node: Schema, path: str, depth: int) -> None:
        if self._take(path, 1) not in (b"\0", b"\1"):
            raise _Unfit(path, "is neither true nor false")

    def _index(self, path: str, number: int) -> int:
        index = self._long(path)
        if not 0 <= index < number:
            raise _Unfit(path, f"names a branch or symbol of which there are {number}")
        return index

    def _long(self, path: str, limit: int = 1 << 63) -> int:
        """A number in zigzag, seven bits to a byte."""
        found = shift = 0
        while True:
            byte = self._take(path, 1)[0]
            found |= (byte & 0x7F) << shift
            if byte < 0x80:
                break
            shift += 7
            if shift > 63:
                raise _Unfit(path, "is a number of more than 64 bits")
        number = (found >> 1) ^ -(found & 1)
        if not -limit <= number < limit:
            raise _Unfit(path, "is a number out of the type's range")
        return number

    def _take(self, path: str, number: int) -> bytes:
        if not 0 <= number <= len(self._data) - self._at:
            raise _Unfit(path, "ends too early")
        self._at += number
        return self._data[self._at - number : self._at]


class _Json:
    """Looks through one value in the JSON encoding."""

    def __init__(self, schema: AvroSchema) -> None:
        self._schema = schema

    def value(self, node: Schema, value: Any, path: str, depth: int) -> None:
        """Return if the value is one of the type."""
        if depth > DEEPEST:
            raise _too_much(path)
        node = self._schema.deref(node)
        kind = node["type"]
        if kind == "union":
            self._union(node, value, path, depth + 1)
        elif kind == "record":
            self._record(node, value, path, depth + 1)
        elif kind == "array" and isinstance(value, list):
            for number, each in enumerate(value):
                self.value(node["items"], each, f"{path}[{number}]", depth + 1)
        elif kind == "map" and isinstance(value, dict):
            for name, each in value.items():
                self.value(node["values"], each, f"{path}.{name[:100]}", depth + 1)
        elif not _is_plain(node, value):
            raise _Unfit(path, f"is no {kind}")

    def _union(self, node: Schema, value: Any, path: str, depth: int) -> None:
        """Null as it is; any other value is an object of one member, named as its branch."""
        named = {self._name(branch): branch for branch in node["branches"]}
        if value is None and "null" in named:
            return
        if not isinstance(value, dict) or len(value) != 1 or next(iter(value)) not in named:
            raise _Unfit(path, f"is none of the union's branches, each as an object named so: {', '.join(named)}")
        ((name, inner),) = value.items()
        self.value(named[name], inner, path, depth)

    def _name(self, branch: Schema) -> str:
        node = self._schema.deref(branch)
        return str(node.get("name", node["type"]))

    def _record(self, node: Schema, value: Any, path: str, depth: int) -> None:
        if not isinstance(value, dict):
            raise _Unfit(path, "is no record")
        fields = {each["name"]: each["type"] for each in node["fields"]}
        for name, kind in fields.items():
            if name not in value:
                raise _Unfit(path, f"{name!r} is a required field")
            self.value(kind, value[name], f"{path}.{name}", depth)
        for name in value:
            if name not in fields:
                raise _Unfit(path, f"{name[:100]!r} is no field of the schema")


def _is_plain(node: Schema, value: Any) -> bool:
    kind = node["type"]
    if kind in _RANGES:
        limit = _RANGES[kind]
        return isinstance(value, int) and not isinstance(value, bool) and -limit <= value < limit
    if kind in _FIXED:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number or (isinstance(value, str) and value in _NO_NUMBERS)
    if kind == "enum":
        return value in node["symbols"]
    if kind in ("bytes", "fixed"):
        # A byte is the character of its number.
        known = isinstance(value, str) and max(value, default="") <= "\xff"
        return known and len(value) == node.get("size", len(value))
    return isinstance(value, {"null": type(None), "boolean": bool, "string": str}.get(kind, ()))


def _too_much(path: str) -> _Unfit:
    return _Unfit(path, f"is nested more than {DEEPEST} levels deep, or the data have more than {MOST_VALUES} values")
