"""Who is asked first among models that are as good as each other: the quickest of late, or the cheapest."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

from ...core.context import Context
from .asked import Asked
from .choosing import Candidate, Refused
from .served import Served
from .table import Target

_SURE = 0.05
_EXPLORED = 20


def balanced(
    ctx: Context, asked: Asked, target: Target, judged: Sequence[Candidate | Refused]
) -> list[Candidate | Refused]:
    """The rungs in the order in which they are to be asked. Those whose probes fail are asked last, and not never:
    a probe may be wrong.
    """
    order = list(judged)
    if target.spec.balance == "latency":
        order = _by_latency(ctx, asked, order)
    elif target.spec.balance == "cost":
        order.sort(key=lambda each: each.most if isinstance(each, Candidate) else 0)
    order.sort(key=lambda each: each.served.unwell)
    return order


def _by_latency(ctx: Context, asked: Asked, order: list[Candidate | Refused]) -> list[Candidate | Refused]:
    drawn = zlib.crc32(ctx.request_id.encode())
    order.sort(key=lambda each: _expected(each.served, streams=asked.streams))
    # One call in twenty goes to another than the quickest: what was slow once may be the quickest by now.
    if len(order) > 1 and drawn % _EXPLORED == 0:
        order.insert(0, order.pop(1 + drawn // _EXPLORED % (len(order) - 1)))
    return order


def _expected(served: Served, *, streams: bool) -> float:
    """Milliseconds until a good answer: failures make it longer. One that was never asked comes first."""
    latency = served.first_token.value if streams else served.latency.value
    return 0.0 if latency is None else latency / max(_SURE, 1.0 - (served.errors.value or 0.0))
