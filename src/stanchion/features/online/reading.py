"""Reads a view's packed values at the least cost where nothing has to be added up."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

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
        self._names = tuple(column.name for column in plan.plain)
        self._moments = tuple(column.name for column in plan.plain if column.kind == "moment")
        self._absent: dict[str, Json] = dict.fromkeys(shape.features)

    def read(self, content: bytes | None, now: int) -> Value:
        """The features as they are at `now`, in microseconds; the mapping is new. Raises NotTrustworthy."""
        if content is None:
            return "unknown", self._absent.copy(), None
        if self._windowed:
            return self._read(content, now)
        try:
            head = _DECODE(content).heads[-1]
        except (msgspec.MsgspecError, IndexError) as error:
            raise NotTrustworthy("a stored feature value is not readable") from error
        at = head.at
        if at > now:
            return self._read(content, now)
        moment = _EPOCH + timedelta(0, 0, at)
        if at < now - self._ttl:
            return "stale", self._absent.copy(), moment
        values = dict(zip(self._names, head.values, strict=False))
        for name in self._moments:
            values[name] = outer("moment", values[name])
        return "present", values, moment

    def _read(self, content: bytes, now: int) -> Value:
        found = self._state.read("", content, now)
        at = None if found.at is None else _EPOCH + timedelta(0, 0, found.at)
        if found.status != "present":
            return found.status, self._absent.copy(), at
        if self._entity is not None:
            del found.values[self._entity]
        return "present", found.values, at
