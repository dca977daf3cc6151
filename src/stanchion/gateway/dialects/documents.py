"""Lenient reading of what upstreams send: a field of another type is a field that is not there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ...core.errors import Unavailable

_DECODER = msgspec.json.Decoder(dict[str, Any])


def decoded(data: bytes, upstream: str) -> dict[str, Any]:
    """A document of an upstream. Raises Unavailable for what is no JSON object."""
    try:
        return _DECODER.decode(data)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unavailable(f"{upstream} sent what is no JSON object") from error


def mapped(value: object) -> Mapping[str, Any]:
    """An object, empty where there is none."""
    return value if isinstance(value, dict) else {}


def listed(value: object) -> list[Any]:
    """A list, empty where there is none."""
    return value if isinstance(value, list) else []


def text(held: Mapping[str, Any], name: str) -> str:
    """A text, empty where there is none."""
    value = held.get(name)
    return value if isinstance(value, str) else ""
