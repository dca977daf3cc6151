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
_encode = msgspec.json.Encoder().encode
_COLON_ESCAPED = b"\\u003"


def check_json(body: bytes) -> Any:
    """The body as plain data, if it is one JSON document without doubt. Raises MalformedRequest that says why not.

    Refused: text that is not UTF-8, NaN and Infinity, numbers out of the range of a 64-bit float, more than
    64 levels of nesting, a name given twice in one object.
    """
    try:
        value = _decode(body)
    except RecursionError as error:
        raise MalformedRequest(f"the body is nested more than {MAX_DEPTH} levels deep") from error
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise MalformedRequest(f"the body is not one JSON document: {error}") from error
    if body.count(b"{") + body.count(b"[") > MAX_DEPTH:
        _check_depth(value)
    if not is_kept(body, value):
        _refuse_duplicates(body)
    return value


def is_kept(body: bytes, value: Any) -> bool:
    """Whether every name was kept, so that none came twice; False also means that nobody can tell.

    A name that is lost takes its colon along. Only an escape could make another one in its place.
    """
    if _COLON_ESCAPED in body:
        return False
    try:
        return body.count(b":") == _encode(value).count(b":")
    except (OverflowError, ValueError):
        return False  # an integer that the encoder does not write


def _check_depth(value: Any) -> None:
    level: list[Any] = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for each in level:
            if each.__class__ is dict:
                deeper += [item for item in each.values() if item.__class__ is dict or item.__class__ is list]
            elif each.__class__ is list:
                deeper += [item for item in each if item.__class__ is dict or item.__class__ is list]
        if not deeper:
            return
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
