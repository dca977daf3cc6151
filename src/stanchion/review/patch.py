"""Changes of JSON documents as data: JSON Pointer (RFC 6901) and JSON Patch (RFC 6902)."""

from __future__ import annotations

import copy
import re
from collections.abc import Sequence

from ..core.errors import InvalidInput
from ..core.values import Json

Operation = dict[str, Json]
_INDEX = re.compile(r"0|[1-9][0-9]{0,9}")
_NEEDS = {"add": "value", "replace": "value", "test": "value", "move": "from", "copy": "from", "remove": "path"}


def tokens(pointer: object) -> list[str]:
    """The steps of a JSON pointer. Raises InvalidInput."""
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise InvalidInput(f"{str(pointer)[:80]!r} is no JSON pointer: it is empty or starts with /")
    if re.search(r"~(?![01])", pointer):
        raise InvalidInput(f"{pointer[:80]!r} is no JSON pointer: ~ is written ~0")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def pointer_of(steps: Sequence[str | int]) -> str:
    """The JSON pointer of these steps."""
    return "".join("/" + str(step).replace("~", "~0").replace("/", "~1") for step in steps)


def same(one: Json, other: Json) -> bool:
    """Equality as RFC 6902 has it: numbers by value, and no truth value is a number."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(one[name], other[name]) for name in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(same(a, b) for a, b in zip(one, other, strict=True))
    return one == other


def diff(one: Json, other: Json) -> list[Operation]:
    """A patch that makes `other` of `one`; empty where they are the same."""
    return _diff(one, other, [])


def _diff(one: Json, other: Json, at: list[str | int]) -> list[Operation]:
    if same(one, other):
        return []
    if isinstance(one, dict) and isinstance(other, dict):
        found: list[Operation] = [
            {"op": "remove", "path": pointer_of([*at, name])} for name in one if name not in other
        ]
        for name, value in other.items():
            if name in one:
                found += _diff(one[name], value, [*at, name])
            else:
                found.append({"op": "add", "path": pointer_of([*at, name]), "value": value})
        return found
    if isinstance(one, list) and isinstance(other, list):
        return _diff_lists(one, other, at)
    return [{"op": "replace", "path": pointer_of(at), "value": other}]


def _diff_lists(one: list[Json], other: list[Json], at: list[str | int]) -> list[Operation]:
    """What is the same at both ends stays; between them items are changed in place, then removed or added."""
    start = 0
    while start < min(len(one), len(other)) and same(one[start], other[start]):
        start += 1
    end = 0
    while end < min(len(one), len(other)) - start and same(one[-1 - end], other[-1 - end]):
        end += 1
    old, new = one[start : len(one) - end], other[start : len(other) - end]
    found: list[Operation] = []
    for place, (a, b) in enumerate(zip(old, new, strict=False)):
        found += _diff(a, b, [*at, start + place])
    for place in range(len(old) - 1, len(new) - 1, -1):
        found.append({"op": "remove", "path": pointer_of([*at, start + place])})
    for place in range(len(old), len(new)):
        found.append({"op": "add", "path": pointer_of([*at, start + place]), "value": new[place]})
    return found


def apply(document: Json, patch: Sequence[Operation]) -> Json:
    """The document after all operations, in order; the given one is left as it is. Raises InvalidInput."""
    result = copy.deepcopy(document)
    for number, operation in enumerate(patch):
        try:
            result = _apply(result, operation)
        except InvalidInput as error:
            raise InvalidInput(f"operation {number} of the patch: {error.detail}") from error
    return result


def touched(patch: Sequence[Operation]) -> list[str]:
    """Every pointer that a patch reads or writes."""
    return [str(operation[name]) for operation in patch for name in ("path", "from") if name in operation]


def _apply(document: Json, operation: Operation) -> Json:
    kind = operation.get("op")
    if not isinstance(kind, str) or kind not in _NEEDS or "path" not in operation or _NEEDS[kind] not in operation:
        raise InvalidInput(f"{str(kind)[:40]!r} is no operation of RFC 6902, or lacks a member")
    path = tokens(operation["path"])
    match kind:
        case "add":
            return _add(document, path, copy.deepcopy(operation["value"]))
        case "remove":
            return _remove(document, path)[0]
        case "replace":
            if not path:
                return copy.deepcopy(operation["value"])
            return _add(_remove(document, path)[0], path, copy.deepcopy(operation["value"]))
        case "test":
            if not same(_find(document, path), operation["value"]):
                raise InvalidInput(f"{operation['path']} does not hold the tested value")
            return document
        case "copy":
            return _add(document, path, copy.deepcopy(_find(document, tokens(operation["from"]))))
        case _:
            source = tokens(operation["from"])
            if path[: len(source)] == source and len(path) > len(source):
                raise InvalidInput("a value cannot be moved into itself")
            rest, value = _remove(document, source)
            return _add(rest, path, value)


def _find(document: Json, path: Sequence[str]) -> Json:
    for step in path:
        if isinstance(document, dict) and step in document:
            document = document[step]
        elif isinstance(document, list) and _INDEX.fullmatch(step) and int(step) < len(document):
            document = document[int(step)]
        else:
            raise InvalidInput(f"there is nothing at {pointer_of(path)}")
    return document


def _add(document: Json, path: Sequence[str], value: Json) -> Json:
    if not path:
        return value
    parent, last = _find(document, path[:-1]), path[-1]
    if isinstance(parent, dict):
        parent[last] = value
    elif isinstance(parent, list) and (last == "-" or (_INDEX.fullmatch(last) and int(last) <= len(parent))):
        parent.insert(len(parent) if last == "-" else int(last), value)
    else:
        raise InvalidInput(f"nothing can be added at {pointer_of(path)}")
    return document


def _remove(document: Json, path: Sequence[str]) -> tuple[Json, Json]:
    """The document without what is at the path, and that."""
    found = _find(document, path)
    if not path:
        return None, found
    parent = _find(document, path[:-1])
    if isinstance(parent, dict):
        del parent[path[-1]]
    elif isinstance(parent, list):
        del parent[int(path[-1])]
    return document, found
