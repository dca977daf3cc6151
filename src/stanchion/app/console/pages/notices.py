"""One thing that needs a person, as the first page tells of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from ....core.context import Context
from ..shell import Shell


@dataclass(frozen=True, slots=True)
class Notice:
    """One thing to look at, and where."""

    kind: Literal["bad", "warn", "info"]
    text: str
    detail: str
    href: str


Probe = Callable[[Shell, Context, datetime], Awaitable[Sequence[Notice]]]
