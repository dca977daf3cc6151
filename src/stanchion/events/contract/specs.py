"""What `system.py` declares of events: their types, and the functions that handle them."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ...core.errors import InvalidInput, Misconfigured
from .rules import check_patterns

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
MOST_BATCH = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class EventSpec:
    """An event type and the type of its data, from which its schema is made."""

    type: str
    data: Any
    description: str = ""

    def __post_init__(self) -> None:
        if not self.type or "*" in self.type or not self.type.isprintable() or " " in self.type:
            raise Misconfigured(f"{self.type!r} is no event type; write one such as document.uploaded")


@dataclass(frozen=True, slots=True, kw_only=True)
class HandlerSpec:
    """A function that handles events. Its `name` is the consumer: all processes that declare it share the work.

    `data` is the type that the event's data are read as (None: the Event itself). With `batch` over 1 the function is
    given sequences of up to so many events of one author. It has `seconds` for a call and `attempts` in all; waits
    between them are drawn below `base` x 2^n seconds, at most `maximum`. At most `concurrency` calls run at once in a
    process. `scopes` narrow the author's rights further. The function is called as `function(ctx, data, commit)`, on
    the event loop if it is async, else in a thread; events that it returns are published with its commit.
    """

    name: str
    types: tuple[str, ...]
    function: Callable[..., Any]
    data: Any = None
    batch: int = 1
    attempts: int = 5
    base: float = 0.5
    maximum: float = 300.0
    seconds: float = 60.0
    concurrency: int = 64
    scopes: frozenset[str] | None = None

    def __post_init__(self) -> None:
        check_consumer(self.name)
        try:
            check_patterns(self.types)
        except InvalidInput as error:
            raise Misconfigured(f"the handler {self.name}: {error.detail}", next_step=error.hint) from error
        if not 1 <= self.batch <= MOST_BATCH or self.attempts < 1 or self.concurrency < 1:
            raise Misconfigured(f"the handler {self.name} needs attempts, concurrency and a batch of 1 to {MOST_BATCH}")
        if min(self.base, self.maximum, self.seconds) <= 0:
            raise Misconfigured(f"the times of the handler {self.name} must be above 0")


def check_consumer(name: str) -> None:
    """Return if the name can be a consumer's. Raises Misconfigured."""
    if _NAME.fullmatch(name) is None:
        raise Misconfigured(
            f"{name!r} cannot name a consumer", next_step="Use at most 100 letters, digits, dots, dashes, underscores."
        )
