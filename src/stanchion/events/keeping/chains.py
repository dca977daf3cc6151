"""Cause and effect: what came of a first event, from the notes that its consequences left when they were handled."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import msgspec
from sqlalchemy import Connection

from ...core.clock import moment
from ..backends.statements import Row, rows
from ..contract import Handling, Hop
from .finishing import Trail

_MOST = 10_000


def rows_of(connection: Connection, tenant: str, correlation: str) -> Sequence[Row]:
    """The notes of one chain."""
    return rows(
        connection,
        "SELECT consumer, source, id, trail FROM events_handled WHERE tenant = ? AND correlation = ? LIMIT ?",
        (tenant, correlation, _MOST),
    )


def tree(notes: Sequence[Row]) -> Sequence[Hop]:
    """The events of a chain, causes before what they led to."""
    hops: dict[tuple[str, str], Hop] = {}
    parts: dict[tuple[str, str], list[Handling]] = defaultdict(list)
    for consumer, source, identity, packed in notes:
        trail = msgspec.msgpack.decode(packed, type=Trail)
        name = (source, identity.split("\x1f")[0])
        hops[name] = Hop(name[1], source, trail.type, trail.causation, moment(trail.published))
        seconds = max(0, trail.at - trail.published) / 1e6
        parts[name].append(Handling(consumer, trail.state, trail.attempts, moment(trail.at), seconds, trail.error))
        for led_id, led_source, led_type in trail.led:
            hops.setdefault((led_source, led_id), Hop(led_id, led_source, led_type, name[1], moment(trail.at)))
    ids = {hop.id for hop in hops.values()}
    whole = [
        Hop(h.id, h.source, h.type, h.cause if h.cause in ids else "", h.published, tuple(parts[name]))
        for name, h in hops.items()
    ]
    return _causes_first(whole)


def _causes_first(hops: Sequence[Hop]) -> Sequence[Hop]:
    children: dict[str, list[Hop]] = defaultdict(list)
    for hop in sorted(hops, key=lambda each: (each.published, each.id)):
        children[hop.cause].append(hop)
    found: list[Hop] = []
    line = list(children.pop("", ()))
    while line:
        hop = line.pop(0)
        found.append(hop)
        line[:0] = children.pop(hop.id, ())
    # What is left names causes in a circle, which only a caller's own extensions can do.
    return found + [hop for rest in children.values() for hop in rest]
