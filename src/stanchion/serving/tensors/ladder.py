"""The rungs of a model that take tensors as they are: its graphs, or the server that runs it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from ...core.context import Context
from ...core.resilience import Ladder
from ..ports import Signature
from .arrays import Array

Arrays = Mapping[str, Array]


@dataclass(frozen=True, slots=True)
class Asked:
    """A run on tensors: checked inputs, and the names of the outputs wanted."""

    inputs: Arrays
    outputs: Sequence[str]


@dataclass(frozen=True, slots=True)
class TensorLadder:
    """The rungs, what they take and give, and the name of their runtime; `ready` asks a far server."""

    signature: Callable[[Context], Awaitable[Signature]]
    ladder: Ladder[Asked, Arrays]
    platform: str
    ready: Callable[[Context], Awaitable[bool]] | None = None
