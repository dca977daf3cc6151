"""Removal: items go for good, with what others were shown of them as similar cases.

A copy gives way to `{"item": id, "erased": true}`. The decisions that were made with it stay: each keeps the digest of
what was shown, and beside it the digest of what is left of that.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any, NamedTuple

from ..core.context import Context, system_context
from ..core.errors import Conflict
from ..core.values import Json
from . import machine
from .canonical import digest
from .desk import Desk
from .ports import News, Records, Row
from .seals import Sealed

_PAGE = 200
_ROUNDS = 20


class Removed(NamedTuple):
    """The items that went, and from how many others their copies went."""

    rows: Sequence[Row]
    copies: int


@dataclass(frozen=True, slots=True)
class _Cleaned:
    """What is left of a text, sealed anew."""

    text: Sealed
    digest: str


@dataclass(frozen=True, slots=True)
class _Holder:
    """An item that holds copies, as it was at a version: by the id of each text with one, what takes its place."""

    version: int
    cleaned: Mapping[str, _Cleaned]


class _Moved(Exception):
    """A holder has come, or has changed, since it was looked at: nothing is done, and nothing audited."""


def removed(queue: str) -> str:
    """The counter of what was taken of a queue's data set."""
    return f"removed/{queue}"


def _similar_in(content: Any) -> list[str]:
    """The items of which a document holds copies."""
    return [str(case["item"]) for case in content.get("similar") or () if "input" in case]


class Removing:
    """Removes items."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def remove(
        self,
        ctx: Context,
        queue: str,
        items: Sequence[str],
        find: Callable[[Records], Sequence[Row]],
        note: Callable[[Removed], None],
    ) -> Removed:
        """Remove those of the items that `find` gives in the transaction, all or nothing; `note` is called in it.

        Raises Conflict if their copies change faster than they can be taken out, and what `find` raises.
        """
        await self._index(ctx.tenant, queue)
        for _ in range(_ROUNDS):
            rows = await self._desk.store.read(ctx.tenant, lambda records: records.holders(items))
            holders = {row.id: await self._cleaned(ctx.tenant, row, items) for row in rows}
            try:
                # Without a sweep: it would change the holders whose time is up, and be undone with the rest.
                done = await self._desk.store.write(ctx, partial(_gone, items, holders, find, note, self._desk.now()))
            except _Moved:
                continue
            self._desk.bell.ring()
            return done
        raise Conflict(f"{queue} changes faster than its items can be removed", next_step="Try it again.")

    async def _index(self, tenant: str, queue: str) -> None:
        """Note whose copies those items hold that were opened before this was noted."""
        store, seals = self._desk.store, self._desk.seals
        while rows := await store.read(tenant, lambda records: records.unnoted(queue, _PAGE)):
            texts = await seals.readable(tenant, [row.facts.content for row in rows])
            held = {row.id: _similar_in(texts.get(row.facts.content, {})) for row in rows}
            await store.write(system_context(tenant, task="review-copies"), partial(_noted, rows, held))

    async def _cleaned(self, tenant: str, row: Row, items: Collection[str]) -> _Holder:
        texts = await self._desk.seals.readable(tenant, _holding(row))
        left = {name: _without(text, items) for name, text in texts.items()}
        return _Holder(
            row.version,
            {
                name: _Cleaned(await self._desk.seals.seal(tenant, text), digest(text))
                for name, text in left.items()
                if text is not None
            },
        )


def _gone(
    items: Sequence[str],
    holders: Mapping[str, _Holder],
    find: Callable[[Records], Sequence[Row]],
    note: Callable[[Removed], None],
    at: datetime,
    records: Records,
) -> Removed:
    present = records.holders(items)
    if {row.id: row.version for row in present} != {name: each.version for name, each in holders.items()}:
        raise _Moved
    rows = find(records)
    for row in present:
        _clean(records, row, holders[row.id].cleaned)
    records.remove([row.id for row in rows])
    for row in rows:
        if row.finished is not None:
            records.number(removed(row.queue))
    records.tell([News("review.removed", row, at) for row in rows if not row.golden])
    done = Removed(rows, len(present))
    note(done)  # within the transaction: its entry in the audit log is durable with it
    return done


def _clean(records: Records, row: Row, cleaned: Mapping[str, _Cleaned]) -> None:
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


def _noted(rows: Sequence[Row], held: Mapping[str, Sequence[str]], records: Records) -> None:
    for row in rows:
        present = records.find(row.id)
        if present is not None and present.version == row.version:
            records.hold(row.id, held[row.id])


def _holding(row: Row) -> list[str]:
    """The texts that can hold copies of other items: what is shown of it, and what was shown."""
    return [row.facts.content, *(vote.shown for vote in row.state.votes)]


def _without(document: Any, items: Collection[str]) -> Json:
    """The document without its copies of the items; None: it has none."""
    cases = document.get("similar") or []
    left = [{"item": each["item"], "erased": True} if each.get("item") in items else each for each in cases]
    return None if left == cases else {**document, "similar": left}
