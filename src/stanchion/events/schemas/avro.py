"""Whether data written with one Avro schema can be read with another, and if not, where and why.

Source: Apache Avro 1.12 specification, "Schema Resolution". Aliases are those of the reader, names are compared without
their namespaces, as the specification has it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from ...core.errors import FieldProblem, InvalidInput
from ..contract.schemas import Clash

PRIMITIVES = frozenset({"null", "boolean", "int", "long", "float", "double", "bytes", "string"})
_NAMED = frozenset({"record", "error", "enum", "fixed"})
_PROMOTES: Mapping[str, frozenset[str]] = {
    "int": frozenset({"long", "float", "double"}),
    "long": frozenset({"float", "double"}),
    "float": frozenset({"double"}),
    "string": frozenset({"bytes"}),
    "bytes": frozenset({"string"}),
}
_DEEPEST = 64
Schema = dict[str, Any]


@dataclass(slots=True)
class AvroSchema:
    """A parsed schema: every type is an object with `type`, a union one with `branches`; names are full."""

    root: Schema
    names: dict[str, Schema] = field(default_factory=dict)

    def deref(self, node: Schema) -> Schema:
        """The definition that a name stands for, or the node itself."""
        return self.names[node["name"]] if node["type"] == "reference" else node


def parse(text: str) -> AvroSchema:
    """The schema in its one form. Raises InvalidInput with the path of what is wrong."""
    try:
        given = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(f"the Avro schema is not JSON: {error}") from error
    made = AvroSchema({})
    made.root = _Parser(made).node(given, "#", "", 0)
    return made


class _Parser:
    def __init__(self, made: AvroSchema) -> None:
        self._made = made

    def node(self, given: Any, path: str, space: str, depth: int) -> Schema:
        if depth > _DEEPEST:
            raise _wrong(path, f"is nested more than {_DEEPEST} levels deep")
        if isinstance(given, str):
            return self._named(given, path, space)
        if isinstance(given, list):
            return self._union(given, path, space, depth)
        if not isinstance(given, dict) or "type" not in given:
            raise _wrong(path, "is no Avro type")
        kind = given["type"]
        if not isinstance(kind, str):
            return self.node(kind, f"{path}/type", space, depth + 1)
        if kind in _NAMED:
            return self._definition(given, path, space, depth)
        if kind == "array":
            return {"type": "array", "items": self.node(given.get("items"), f"{path}/items", space, depth + 1)}
        if kind == "map":
            return {"type": "map", "values": self.node(given.get("values"), f"{path}/values", space, depth + 1)}
        found = self._named(kind, path, space)
        return {**found, "logical": given["logicalType"]} if "logicalType" in given else found

    def _named(self, name: str, path: str, space: str) -> Schema:
        if name in PRIMITIVES:
            return {"type": name}
        for full in (_full(name, space), name):
            if full in self._made.names:
                return {"type": "reference", "name": full}
        raise _wrong(path, f"names the type {name[:80]!r}, which is not defined before it")

    def _union(self, given: list[Any], path: str, space: str, depth: int) -> Schema:
        branches = [self.node(each, f"{path}/{i}", space, depth + 1) for i, each in enumerate(given)]
        kinds = [(self._made.deref(b)["type"], b.get("name")) for b in branches]
        if not branches or len(set(kinds)) < len(kinds) or any(kind == "union" for kind, _ in kinds):
            raise _wrong(path, "is no union: it has a branch twice, another union in it, or none at all")
        return {"type": "union", "branches": branches}

    def _definition(self, given: dict[str, Any], path: str, space: str, depth: int) -> Schema:
        kind, name = given["type"], given.get("name")
        if not isinstance(name, str) or not all(part.isidentifier() for part in name.split(".")):
            raise _wrong(f"{path}/name", "is no name of letters, digits and underscores")
        own = given.get("namespace", space)
        full = _full(name, own if isinstance(own, str) else space)
        if full in self._made.names:
            raise _wrong(f"{path}/name", f"defines {full!r} a second time")
        aliases = [str(alias) for alias in given.get("aliases", ())]
        made: Schema = {"type": "record" if kind == "error" else kind, "name": full, "aliases": aliases}
        self._made.names[full] = made
        if kind == "enum":
            made |= {"symbols": _symbols(given, path), "default": given.get("default")}
        elif kind == "fixed":
            made["size"] = _size(given, path)
        else:
            made["fields"] = self._fields(given, path, full.rpartition(".")[0], depth)
        return made

    def _fields(self, given: dict[str, Any], path: str, space: str, depth: int) -> list[Schema]:
        fields = given.get("fields")
        if not isinstance(fields, list):
            raise _wrong(f"{path}/fields", "is no list of fields")
        made: list[Schema] = []
        for i, each in enumerate(fields):
            at = f"{path}/fields/{i}"
            if not isinstance(each, dict) or not isinstance(each.get("name"), str) or "type" not in each:
                raise _wrong(at, "is no field: it has a name and a type")
            if any(each["name"] == other["name"] for other in made):
                raise _wrong(f"{at}/name", f"is the name {each['name']!r} a second time")
            one: Schema = {"name": each["name"], "aliases": list(each.get("aliases", ()))}
            one["type"] = self.node(each["type"], f"{at}/type", space, depth + 1)
            if "default" in each:
                one["default"] = each["default"]
                if not _fits(self._made, one["type"], each["default"]):
                    raise _wrong(f"{at}/default", "is no value of the field's type")
            made.append(one)
        return made


def _fits(schema: AvroSchema, node: Schema, value: Any) -> bool:
    """Whether a default is a value of its type; that of a union is one of its first branch (any since 1.12)."""
    node = schema.deref(node)
    kind = node["type"]
    if kind == "union":
        return any(_fits(schema, branch, value) for branch in node["branches"])
    if kind in ("int", "long"):
        return isinstance(value, int) and not isinstance(value, bool)
    if kind in ("float", "double"):
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "array":
        return isinstance(value, list) and all(_fits(schema, node["items"], each) for each in value)
    if kind == "map":
        return isinstance(value, dict) and all(_fits(schema, node["values"], each) for each in value.values())
    if kind == "record":
        return isinstance(value, dict)
    if kind == "enum":
        return value in node["symbols"]
    wanted = {"null": type(None), "boolean": bool}.get(kind, str)
    return isinstance(value, wanted)


def _symbols(given: dict[str, Any], path: str) -> list[str]:
    symbols = given.get("symbols")
    if not isinstance(symbols, list) or len(set(map(str, symbols))) < len(symbols):
        raise _wrong(f"{path}/symbols", "is no list of different symbols")
    if "default" in given and given["default"] not in symbols:
        raise _wrong(f"{path}/default", "is none of the symbols")
    return [str(symbol) for symbol in symbols]


def _size(given: dict[str, Any], path: str) -> int:
    size = given.get("size")
    if not isinstance(size, int) or isinstance(size, bool) or size < 0:
        raise _wrong(f"{path}/size", "is no number of bytes")
    return size


def _full(name: str, space: str) -> str:
    return name if "." in name or not space else f"{space}.{name}"


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"the Avro schema is not valid: {path} {message}", fields=[FieldProblem(path, message)])


def clashes(writer: AvroSchema, reader: AvroSchema) -> list[Clash]:
    """Everything that keeps the reader from reading the writer's data; empty: it reads all of it."""
    return list(_Resolution(writer, reader).between(writer.root, reader.root, "#"))


class _Resolution:
    """Compares two schemas; a pair of named types that is being compared already is taken for good."""

    def __init__(self, writer: AvroSchema, reader: AvroSchema) -> None:
        self._writer = writer
        self._reader = reader
        self._seen: set[tuple[str, str]] = set()

    def between(self, w: Schema, r: Schema, path: str) -> Iterator[Clash]:
        w, r = self._writer.deref(w), self._reader.deref(r)
        if "name" in w and "name" in r:
            if (w["name"], r["name"]) in self._seen:
                return
            self._seen.add((w["name"], r["name"]))
        if w["type"] == "union":
            for i, branch in enumerate(w["branches"]):
                for clash in self.between(branch, r, path):
                    words = (
                        f"data may be the {_said(self._writer, branch)} of the writer's union ({i}): {clash.message}"
                    )
                    yield Clash(clash.reason, clash.path, words)
        elif r["type"] == "union":
            yield from self._into_union(w, r, path)
        elif w["type"] != r["type"]:
            if r["type"] not in _PROMOTES.get(w["type"], ()):
                words = f"the writer's {_said(self._writer, w)} cannot be read as {_said(self._reader, r)}"
                yield Clash("type_mismatch", path, words)
        elif w["type"] not in PRIMITIVES:
            yield from self._same_kind(w, r, path)

    def _into_union(self, w: Schema, r: Schema, path: str) -> Iterator[Clash]:
        nearest: list[Clash] | None = None
        for i, branch in enumerate(r["branches"]):
            seen = set(self._seen)
            found = list(self.between(w, branch, f"{path}/{i}"))
            if not found:
                return
            self._seen = seen
            if self._reader.deref(branch)["type"] == w["type"] and (nearest is None or len(found) < len(nearest)):
                nearest = found
        words = f"the writer's {_said(self._writer, w)} is none of the reader's union"
        yield Clash("missing_union_branch", path, words)
        yield from nearest or ()

    def _same_kind(self, w: Schema, r: Schema, path: str) -> Iterator[Clash]:
        kind = w["type"]
        if kind == "array":
            yield from self.between(w["items"], r["items"], f"{path}/items")
        elif kind == "map":
            yield from self.between(w["values"], r["values"], f"{path}/values")
        elif not _same_name(w, r):
            yield Clash("name_mismatch", f"{path}/name", f"the writer's name {w['name']!r} is not {r['name']!r}")
        elif kind == "fixed" and w["size"] != r["size"]:
            words = f"the writer's size of {w['size']} bytes is not {r['size']}"
            yield Clash("fixed_size_mismatch", f"{path}/size", words)
        elif kind == "enum":
            lost = [symbol for symbol in w["symbols"] if symbol not in r["symbols"]]
            if lost and r["default"] is None:
                words = f"the reader lacks the writer's symbols {', '.join(lost)} and has no default"
                yield Clash("missing_enum_symbols", f"{path}/symbols", words)
        elif kind == "record":
            yield from self._records(w, r, path)

    def _records(self, w: Schema, r: Schema, path: str) -> Iterator[Clash]:
        written = {each["name"]: each for each in w["fields"]}
        for i, each in enumerate(r["fields"]):
            at = f"{path}/fields/{i}"
            source = next((written[n] for n in (each["name"], *each["aliases"]) if n in written), None)
            if source is not None:
                yield from self.between(source["type"], each["type"], f"{at}/type")
            elif "default" not in each:
                words = f"the field {each['name']!r} has no default, and the writer's data does not have it"
                yield Clash("reader_field_missing_default_value", at, words)


def _same_name(w: Schema, r: Schema) -> bool:
    bare = [name.rpartition(".")[2] for name in (w["name"], r["name"], *r["aliases"])]
    return bare[0] in bare[1:]


def _said(schema: AvroSchema, node: Schema) -> str:
    node = schema.deref(node)
    return f"{node['type']} {node['name']}" if "name" in node else str(node["type"])
