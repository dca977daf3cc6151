"""Refuses JSON that two parsers might read differently, before any route sees it.

RFC 8259 leaves duplicate names, huge numbers and depth to the reader; readers differ, and attackers live on
the difference. Here one reading is possible, or the body is refused (compare RFC 7493, I-JSON).
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from ..errors import MalformedRequest

MAX_DEPTH = 64
_decode = msgspec.json.Decoder().decode


def check_json(body: bytes) -> None:
    """Return if the body is one JSON document without doubt. Raises MalformedRequest that says what is wrong.

    Refused: text that is not UTF-8, NaN and Infinity, numbers out of the range of a 64-bit float, more than
    64 levels of nesting, a name given twice in one object.
    """
    try:
        value = _decode(body)
    except RecursionError as error:
        raise MalformedRequest(f"the body is nested more than {MAX_DEPTH} levels deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRequest(f"the body is not one JSON document: {error}") from error
    # Each name needs a colon: with no colon to spare, every name was kept and none came twice.
    if body.count(b":") != _names(value):
        _refuse_duplicates(body)


def _names(value: Any) -> int:
    """How many object names the value holds; raises on depth."""
    count = 0
    level: list[Any] = [value] if isinstance(value, dict | list) else []
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for each in level:
            items = each
            if each.__class__ is dict:
                count += len(each)
                items = each.values()
            deeper += [item for item in items if item.__class__ is dict or item.__class__ is list]
        if not deeper:
            return count
        level = deeper
    raise MalformedRequest(f"the body is nested more than {MAX_DEPTH} levels deep")


def _refuse_duplicates(body: bytes) -> None:
    def check(pairs: list[tuple[str, object]]) -> None:
        names = [name for name, _ in pairs]
        if len(set(names)) != len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise MalformedRequest(f"the name {twice[:80]!r} is given twice in one object")

    try:
        json.loads(body, object_pairs_hook=check, parse_int=str)
    except (ValueError, RecursionError) as error:
        raise MalformedRequest(f"the body is not one JSON document: {error}") from error
