"""What the gateway's pages share: the door itself, and this month's money where the caller may see it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .....core.context import Context
from .....core.errors import NotFound
from .....gateway import Gateway, UsageLine
from ...assets import BASE
from ...shell import Shell

HOME = f"{BASE}/gateway"


@dataclass(frozen=True, slots=True)
class Sums:
    """Calls of some group. `cost` is in picodollars; `failed` are those with any outcome but `ok`."""

    requests: int = 0
    failed: int = 0
    unpriced: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cached: int = 0
    cost: int = 0

    def plus(self, line: UsageLine) -> Sums:
        """These and the line's."""
        return Sums(
            self.requests + line.requests,
            self.failed + (0 if line.group.get("outcome", "ok") == "ok" else line.requests),
            self.unpriced + line.unpriced,
            self.tokens_in + line.usage.tokens_in,
            self.tokens_out + line.usage.tokens_out,
            self.cached + line.usage.cached,
            self.cost + line.cost,
        )


def door(shell: Shell) -> Gateway:
    """The gateway. Raises NotFound where the system has none."""
    if shell.doors.gateway is None:
        raise NotFound("no gateway is part of this system", next_step="Declare an upstream and a model in system.py.")
    return shell.doors.gateway


async def month(shell: Shell, ctx: Context) -> Sequence[UsageLine]:
    """This month's usage by provider, model and outcome; nothing for whoever may not read it."""
    if not shell.permissions.may(ctx, "gateway:read_usage"):
        return ()
    return await door(shell).usage(ctx, by=("provider", "model", "outcome"))


def total(lines: Sequence[UsageLine]) -> Sums:
    """The sum of all lines."""
    sums = Sums()
    for line in lines:
        sums = sums.plus(line)
    return sums
