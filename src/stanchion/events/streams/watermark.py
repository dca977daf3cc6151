"""How far event time has come for a key, and which rows of it may still be expected."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta

from ...core.errors import Misconfigured

MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Progress:
    """How rows come: those of a key at most `lag` behind its newest.

    The bus keeps the order of each key, and takes keys in parallel: so time is kept for each key by itself. A key of
    which no row has come for `idle` (by the clock) goes on with the others of its slot, as soon as one of them has a
    row. A key of which no row has come for `silence` (by the clock) goes on with the clock from then on, whoever else
    is silent; None: only rows tell time, and the last windows stay open. `silence` is above the longest pause between
    rows that come in bursts: what a burst brings from before its pause's last `silence` would be late.
    """

    lag: timedelta = timedelta(0)
    idle: timedelta = timedelta(seconds=10)
    silence: timedelta | None = None

    def __post_init__(self) -> None:
        if self.lag < timedelta(0) or self.idle < timedelta(0):
            raise Misconfigured("the lag of a stream and its idle time are not negative")
        if self.silence is not None and self.silence <= timedelta(0):
            raise Misconfigured("the silence after which a key goes on with the clock is above zero")

    def after(self, newest: int) -> int:
        """The watermark once a row of this event time has come: no row from before it is expected."""
        return newest - self.lag // MICROSECOND
