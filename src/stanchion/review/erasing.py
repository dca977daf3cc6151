"""Erasure: one item goes for good because its subject asks for it, with what others were shown of it as a similar case.

A copy gives way to `{"item": id, "erased": true}`. The decisions that were made with it stay: each keeps the digest of
what was shown, and beside it the digest of what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from ..core.context import Context
from ..core.errors import Conflict, InvalidInput
from ..core.values import Json
from . import machine
from .canonical import digest
from .desk import Desk, must
from .ports import News, Records, Row
from .retaining import removed
from .seals import Sealed

_PAGE = 200
_ROUNDS = 20
_LONGEST = 200


@dataclass(frozen=True, slots=True)
class _Cleaned:
    """What is left of a text, sealed anew."""

    text: Sealed
    digest: str


@dataclass(frozen=True, slots=True)
class _Copies:
    """The texts of an item, as it was at a version, that hold a copy: by id, what takes their place."""

    version: int
    cleaned: Mapping[str, _Cleaned]


class Erasing:
    """Erases items."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def erase(self, ctx: Context, item: str, reason: str) -> int:
        """See the contract."""
        if len(reason) > _LONGEST or not reason.isprintable():
            raise InvalidInput(f"a reason is one line of at most {_LONGEST} printable characters")
        row = await self._desk.store.read(ctx.tenant, lambda records: _ended(must(records, item)))
        found: dict[str, _Copies] = {}
        seen, moved = row.number, list[str]()
        for _ in range(_ROUNDS):
            await self._look_again(ctx.tenant, item, moved, found)
            seen = await self._look(ctx.tenant, row, seen, found)
            note = partial(_note, ctx, erased=item, queue=row.queue, copies=len(found), reason=reason)
            moved = await self._desk.write(ctx, partial(self._gone, row, found, seen, note))
            if not moved:
                return len(found)
        raise Conflict(f"{row.queue} changes faster than {item} can be erased", next_step="Erase it again.")

    async def _look(self, tenant: str, row: Row, after: int, found: dict[str, _Copies]) -> int:
        """Add the copies in all items of the queue that were opened later; the number of the last of these."""
        while rows := await self._desk.store.read(tenant, partial(_later, row.queue, after)):
            found |= await self._copies(tenant, row.id, rows)
            after = rows[-1].number
        return after

    async def _look_again(self, tenant: str, item: str, moved: Sequence[str], found: dict[str, _Copies]) -> None:
        """Put right what was found of the items that have changed since."""
        rows = await self._desk.store.read(tenant, lambda records: [records.find(each) for each in moved])
        for name in moved:
            found.pop(name, None)
        found |= await self._copies(tenant, item, [row for row in rows if row is not None])

    async def _copies(self, tenant: str, item: str, rows: Sequence[Row]) -> dict[str, _Copies]:
        texts = await self._desk.seals.read(tenant, [name for row in rows for name in _holding(row)])
        found = {}
        for row in rows:
            cleaned = {}
            for name in _holding(row):
                if (left := _without(texts[name], item)) is not None:
                    cleaned[name] = _Cleaned(await self._desk.seals.seal(tenant, left), digest(left))
            found[row.id] = _Copies(row.version, cleaned)
        return {name: each for name, each in found.items() if each.cleaned}

    def _gone(
        self,
        row: Row,
        found: Mapping[str, _Copies],
        seen: int,
        note: Callable[[], None],
        records: Records,
        at: datetime,
    ) -> list[str]:
        """Remove all; or remove nothing, and give the items that changed since they were looked at."""
        present = {name: records.find(name) for name in found}
        moved = [name for name, each in present.items() if each and each.version != found[name].version]
        if moved or records.later(row.queue, seen, 1):
            return moved or [row.id]
        _ended(must(records, row.id))
        for name, other in present.items():
            if other is not None:
                self._clean(records, other, found[name].cleaned)
        records.remove([row.id])
        if row.finished is not None:
            records.number(removed(row.queue))
        if not row.golden:
            records.tell([News("review.removed", row, at)])
        note()  # within the transaction: its entry in the audit log is durable with it
        return []

    def _clean(self, records: Records, row: Row, cleaned: Mapping[str, _Cleaned]) -> None:
        content = cleaned.get(row.facts.content)
        facts = row.facts if content is None else replace(row.facts, content=content.text.id)
        votes = tuple(
            vote if (left := cleaned.get(vote.shown)) is None else replace(vote, shown=left.text.id, left=left.digest)
            for vote in row.state.votes
        )
        records.drop_texts(list(cleaned))
        for each in cleaned.values():
            each.text.keep(records, row.id)
        # Whoever holds the item has seen another document: the version has them look at it anew.
        changed = replace(row, version=row.version + 1, facts=facts, state=replace(row.state, votes=votes))
        records.save(changed, machine.next_at(changed))


def _note(ctx: Context, **facts: str | int) -> None:
    if ctx.effect is not None:
        ctx.effect.note(**facts)


def _ended(row: Row) -> Row:
    if row.status not in machine.OVER:
        raise Conflict(f"{row.id} is {row.status}", next_step="Have it decided, or let it expire, and erase it then.")
    return row


def _later(queue: str, after: int, records: Records) -> Sequence[Row]:
    return records.later(queue, after, _PAGE)


def _holding(row: Row) -> Iterable[str]:
    """The texts that can hold copies of other items: what is shown of it, and what was shown."""
    return [row.facts.content, *(vote.shown for vote in row.state.votes)]


def _without(document: Any, item: str) -> Json:
    """The document without its copy of the item; None: it has none."""
    cases = document.get("similar") or []
    if not any(case.get("item") == item and "input" in case for case in cases):
        return None
    left = [{"item": item, "erased": True} if case.get("item") == item else case for case in cases]
    return {**document, "similar": left}
