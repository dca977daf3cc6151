"""Reads a view's packed values at the least cost where nothing has to be added up."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import msgspec

from ...core.errors import NotTrustworthy
from ...core.values import Json
from ..contract.serving import Status
from ..rows import Shape
from ..windows.state import Held
from ..windows.values import outer

_DECODE = msgspec.msgpack.Decoder(Held).decode


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Status, features (all None unless present) and event time. A plain tuple: this is made for each entity and view.
Value = tuple[Status, dict[str, Json], datetime | None]


class Reader:
    """One view's packed values as features. A view without windows needs its newest row only."""

    def __init__(self, shape: Shape) -> None:
        plan = shape.plan
        self._state = shape.state
        self._entity = shape.entity if plan.has_key else None
        self._ttl = plan.ttl
        self._windowed = bool(plan.groups)
        # Bound once: `zip` with a keyword takes a third longer.
        self._pairs = partial(zip, [column.name for column in plan.plain])
        self._moments = tuple(column.name for column in plan.plain if column.kind == "moment")
        self._absent: dict[str, Json] = dict.fromkeys(shape.features)

    def read(self, contents: Sequence[bytes | None], now: int) -> list[Value]:
        """The features of each entity as they are at `now` (microseconds); mappings are new. Raises NotTrustworthy."""
        if self._windowed:
            return [self._read(content, now) for content in contents]
        found: list[Value] = []
        oldest, told, moment = now - self._ttl, 0, _EPOCH
        for content in contents:
            if content is None:
                found.append(("unknown", self._absent.copy(), None))
                continue
            try:
                head = _DECODE(content).heads[-1]
            except (msgspec.MsgspecError, IndexError) as error:
                raise NotTrustworthy("a stored feature value is not readable") from error
            at = head.at
            if at > now:
                found.append(self._read(content, now))
                continue
            if at != told:  # rows that were written together mostly are of one moment
                told, moment = at, _EPOCH + timedelta(0, 0, at)
            if at < oldest:
                found.append(("stale", self._absent.copy(), moment))
                continue
            values: dict[str, Json] = dict(self._pairs(head.values))
            for name in self._moments:
                values[name] = outer("moment", values[name])
            found.append(("present", values, moment))
        return found

    def _read(self, content: bytes | None, now: int) -> Value:
        found = self._state.read("", content, now)
        at = None if found.at is None else _EPOCH + timedelta(0, 0, found.at)
        if found.status != "present":
            return found.status, self._absent.copy(), at
        if self._entity is not None:
            del found.values[self._entity]
        return "present", found.values, at
