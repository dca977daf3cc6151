"""The newest event time of each view, which says how fresh it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from ...core.clock import moment
from ...core.storage import KeyValue
from ..rows import tenant_digest


class Newest:
    """The newest event time written to each view, kept in the store, so that every process knows it."""

    def __init__(self, store: KeyValue) -> None:
        self._store = store

    async def wrote(self, tenant: str, view: str, at: int) -> None:
        """Note an event time, in microseconds; an older one than is known changes nothing."""
        name = _place(tenant, view)
        [held] = await self._store.get([name])
        while held is None or int(held) < at:
            if await self._store.swap(name, held, b"%d" % at):
                return
            [held] = await self._store.get([name])

    async def times(self, tenant: str, views: Sequence[str]) -> Mapping[str, datetime | None]:
        """The newest event time of each view; None where nothing was written."""
        found = await self._store.get([_place(tenant, view) for view in views])
        return {view: None if at is None else moment(int(at)) for view, at in zip(views, found, strict=True)}


def _place(tenant: str, view: str) -> str:
    return f"feature-newest/{tenant_digest(tenant)}/{view}"
