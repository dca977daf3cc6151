"""Problem documents in the forms of clients: the provider's own words beside ours."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..contract.calls import Shape
from ..wire.faults import error_document
from .endpoints import PATHS

Writer = Callable[[Mapping[str, Any]], Mapping[str, Any]]


def writer(shape: Shape) -> Writer:
    """What writes a problem document so that the shape's stock clients find its words; ours stay beside them."""
    return lambda problem: {**problem, **error_document(shape, problem)}


def writers() -> dict[str, Writer]:
    """By path."""
    return {path: writer(shape) for path, shape in PATHS.items()}
