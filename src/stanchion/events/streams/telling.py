"""What a stream tells, as events whose ids follow from what is told: telling it again tells nothing new."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace

from ...core.values import Json
from ..contract import CAUSATION, CORRELATION, PARTITION_KEY, Event, Value

_LONGEST_ID = 200


def tell(
    stream: str, kind: str, key: str, value: Mapping[str, Json], own: str, *, cause: tuple[str, str] | None = None
) -> Event:
    """An event of the stream about a key; `own` tells it from others of its kind.

    `cause` is the event that led to it and the chain of that event.
    """
    extensions: dict[str, Value] = {PARTITION_KEY: key}
    if cause is not None:
        extensions |= {CAUSATION: cause[0], CORRELATION: cause[1]}
    made = Event.of(f"{stream}.{kind}", f"stream/{stream}", dict(value), subject=key, **extensions)
    name = f"{key}.{kind}.{own}"
    return replace(made, id=name if len(name) <= _LONGEST_ID else hashlib.sha256(name.encode()).hexdigest())
