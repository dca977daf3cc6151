"""Reading items: lists without content, cases as their reader may see them, outcomes with their digests checked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from ..core.context import Context
from ..core.errors import InvalidInput, NotTrustworthy
from ..core.values import Json
from . import machine
from .canonical import digest
from .contract import Case, Item, Outcome, Status, Verdict
from .desk import Desk, item_of, must, rights_of
from .ports import Ending, Row, Wanted
from .showing import Shown, ids_of, show

MOST_LISTED = 200


class Reading:
    """Gives out items."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def items(
        self, ctx: Context, queue: str, status: Sequence[Status], *, mine: bool, after: str, limit: int
    ) -> Sequence[Item]:
        """See the contract."""
        if not 1 <= limit <= MOST_LISTED:
            raise InvalidInput(f"limit is 1 to {MOST_LISTED}")
        wanted = Wanted(queue, tuple(status), ctx.principal if mine else "", after)
        rows = await self._desk.store.read(ctx.tenant, lambda records: records.page(wanted, limit))
        return [item_of(row) for row in rows]

    async def get(self, ctx: Context, item: str) -> Case:
        """See the contract."""
        row = await self._desk.store.read(ctx.tenant, lambda records: must(records, item))
        [case] = await self.cases(ctx, [row])
        return case

    async def cases(self, ctx: Context, rows: Sequence[Row]) -> list[Case]:
        """The items as the caller may see them. Raises NotFound where a queue, and so its mask, is gone."""
        texts = await self.texts(ctx.tenant, rows)
        at = self._desk.now()
        return [self._case(ctx, row, texts, at) for row in rows]

    async def texts(self, tenant: str, rows: Sequence[Row]) -> Mapping[str, Any]:
        """All texts that the documents of these items are made of."""
        return await self._desk.seals.read(tenant, [name for row in rows for name in ids_of(row)])

    async def outcome(self, tenant: str, row: Row) -> Outcome:
        """How an item ended. Raises NotTrustworthy if a decision is not about what its digest says."""
        ending = row.state.ending
        if ending is None:
            raise NotTrustworthy(f"{row.id} is {row.status} without an outcome")
        votes = [vote for vote in row.state.votes if vote.by in ending.by and vote.verdict != "escalate"]
        wanted = [row.facts.content, ending.text, *(vote.shown for vote in votes)]
        texts = await self._desk.seals.read(tenant, wanted)
        for vote in votes:
            if digest(texts[vote.shown]) != (vote.left or vote.digest):
                raise NotTrustworthy(f"what {vote.by} was shown of {row.id} is not what the decision names")
        told = texts[ending.text] if ending.text else {}
        return _outcome(ending, texts[row.facts.content]["proposal"], told)

    def _case(self, ctx: Context, row: Row, texts: Mapping[str, Any], at: datetime) -> Case:
        spec = self._desk.spec(row.queue)
        shown = show(row, spec, texts, rights_of(ctx))
        lease = next((each for each in row.state.leases if each.holder == ctx.principal and each.until > at), None)
        reasons: dict[Verdict, Sequence[str]] = {verdict: tuple(codes) for verdict, codes in spec.reasons.items()}
        return Case(
            item=item_of(row),
            shown=shown.document,
            digest=shown.digest,
            masked=shown.masked,
            history=row.state.marks,
            reasons=reasons,
            token=None if lease is None else lease.token,
            leased_until=None if lease is None else lease.until,
            outcome=_seen(row, shown),
        )


def _seen(row: Row, shown: Shown) -> Outcome | None:
    """The outcome with nothing in it that the document masks."""
    ending = row.state.ending
    if ending is None or row.status not in ("settling", *machine.OVER):
        return None
    prior = shown.document["prior"]
    place = next((n for n, vote in enumerate(row.state.votes) if vote.text == ending.text), None)
    told = prior[place] if isinstance(prior, list) and place is not None else {}
    return _outcome(ending, shown.document["proposal"], told if isinstance(told, dict) else {})


def _outcome(ending: Ending, proposal: Json, told: Mapping[str, Any]) -> Outcome:
    values: Mapping[Verdict, Json] = {"approve": proposal, "edit": told.get("value")}
    patch = told.get("patch")
    return Outcome(
        verdict=ending.verdict,
        value=values.get(ending.verdict),
        by=ending.by,
        digests=ending.digests,
        reason=ending.reason,
        note=told.get("note", ""),
        patch=patch if isinstance(patch, list) else (),
        at=ending.at,
        expired=ending.expired,
    )
