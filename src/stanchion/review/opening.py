"""Opening items: the rules say which proposals go to people, a key makes it happen once."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from ..core.context import Context
from ..core.errors import Conflict, FieldProblem, InvalidInput
from ..core.values import Json
from . import machine, routing
from .canonical import canonical, digest
from .contract import MOST_DRAFTS, Answer, Draft, Expected, Item, Opened, ReviewSpec
from .desk import Desk, item_of, must
from .ports import PRIORITIES, Facts, Records, Row
from .reading import Reading
from .seals import Sealed
from .showing import content_of
from .similar import Decided, similar

_LARGEST = 1 << 20
_LOOKED = 50
_KEY = re.compile(r"[\x21-\x7e]{1,200}")
LONGEST_WAIT = 300.0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A draft that goes to people, with its content sealed."""

    draft: Draft
    matched: tuple[str, ...]
    unit: str
    fingerprint: str
    content: Sealed
    expected: Sealed | None = None
    wrong: bool = False
    similar: tuple[str, ...] = ()


class Opening:
    """Opens items and tells those who ask how they ended."""

    def __init__(self, desk: Desk, reading: Reading, *, poll_seconds: float) -> None:
        self._desk = desk
        self._reading = reading
        self._poll_seconds = poll_seconds

    async def open(self, ctx: Context, drafts: Sequence[Draft]) -> Sequence[Opened]:
        """See the contract."""
        _check(drafts)
        specs = [self._desk.spec(draft.queue) for draft in drafts]
        known = await self._desk.store.read(ctx.tenant, lambda records: [_found(records, ctx, d) for d in drafts])
        prepared: list[_Prepared | Opened] = []
        for draft, spec, row in zip(drafts, specs, known, strict=True):
            prepared.append(_again(row) if row is not None else await self._prepared(ctx, draft, spec))
        if not any(isinstance(each, _Prepared) for each in prepared):
            return [each for each in prepared if isinstance(each, Opened)]

        def work(records: Records, at: datetime) -> list[Opened]:
            return [each if isinstance(each, Opened) else self._made(records, ctx, each, at) for each in prepared]

        opened = await self._desk.write(ctx, work)
        if ctx.effect is not None:
            ctx.effect.note(opened=sum(each.created for each in opened), of=len(drafts))
        return opened

    async def seed(self, ctx: Context, draft: Draft, expected: Expected) -> Item:
        """See the contract."""
        _check([draft])
        if expected.verdict == "escalate" or (expected.wrong and expected.verdict == "approve"):
            raise InvalidInput("a golden item is right to approve, edit or reject; a wrong one not to approve")
        spec = self._desk.spec(draft.queue)
        _, matched = routing.matched(spec, draft, _unit(draft))
        prepared = await self._sealed(ctx, draft, spec, matched, expected)
        opened = await self._desk.write(ctx, lambda records, at: self._made(records, ctx, prepared, at))
        if opened.item is None or not opened.created:
            raise Conflict(f"the key {draft.key} is another item's")
        return opened.item

    async def ask(self, ctx: Context, draft: Draft, *, seconds: float) -> Answer:
        """See the contract."""
        if not draft.key:
            raise InvalidInput("whoever waits needs a key", fields=[FieldProblem("$.draft.key", "is empty")])
        if not 0 <= seconds <= LONGEST_WAIT:
            raise InvalidInput(f"one call waits 0 to {LONGEST_WAIT:g} seconds; ask again to wait longer")
        [opened] = await self.open(ctx, [draft])
        if opened.item is None:
            return Answer("not_needed", value=draft.proposal)
        row = await self._ended(ctx.tenant, opened.item.id, seconds)
        if row is None:
            return Answer("pending", opened.item.id)
        outcome = await self._reading.outcome(ctx.tenant, row)
        return Answer("expired" if row.status == "expired" else "decided", row.id, outcome.value, outcome)

    async def _ended(self, tenant: str, item: str, seconds: float) -> Row | None:
        """The item once it is decided for good, or None when the time is over."""
        try:
            async with asyncio.timeout(seconds):
                while True:
                    bell = self._desk.bell.present
                    row = await self._desk.store.read(tenant, lambda records: must(records, item))
                    if row.status in machine.OVER:
                        return row
                    await _either(bell, self._poll_seconds)
        except TimeoutError:
            row = await self._desk.store.read(tenant, lambda records: must(records, item))
            return row if row.status in machine.OVER else None

    async def _prepared(self, ctx: Context, draft: Draft, spec: ReviewSpec) -> _Prepared | Opened:
        wanted, matched = routing.matched(spec, draft, _unit(draft))
        return await self._sealed(ctx, draft, spec, matched) if wanted else Opened(None, matched)

    async def _sealed(
        self, ctx: Context, draft: Draft, spec: ReviewSpec, matched: tuple[str, ...], expected: Expected | None = None
    ) -> _Prepared:
        cases = await self._similar(ctx.tenant, draft, spec)
        content = content_of(draft, cases)
        if len(canonical(content)) > _LARGEST:
            raise InvalidInput(
                f"an item holds at most {_LARGEST >> 20} MiB", next_step="Refer to large sources by name."
            )
        seals = self._desk.seals
        right: dict[str, Json] | None = (
            None if expected is None else {"verdict": expected.verdict, "value": expected.value}
        )
        return _Prepared(
            draft=draft,
            matched=matched,
            unit=_unit(draft),
            fingerprint=_fingerprint(draft),
            content=await seals.seal(ctx.tenant, content),
            expected=None if right is None else await seals.seal(ctx.tenant, right),
            wrong=expected is not None and expected.wrong,
            similar=tuple(str(case["item"]) for case in cases if isinstance(case, dict)),
        )

    async def _similar(self, tenant: str, draft: Draft, spec: ReviewSpec) -> Sequence[Json]:
        if not spec.similar:
            return ()
        rows = await self._desk.store.read(
            tenant, lambda records: records.recent(draft.queue, None, _LOOKED, statuses=("decided",))
        )
        rows = [row for row in rows if not row.golden]
        texts = await self._desk.seals.read(tenant, [row.facts.content for row in rows])
        decided = [
            Decided(row.id, content["input"], content["proposal"], row.state.ending.verdict, row.state.ending.reason)
            for row in rows
            if row.state.ending is not None and (content := texts[row.facts.content])
        ]
        return similar(draft.input, decided, spec.similar)

    def _made(self, records: Records, ctx: Context, prepared: _Prepared, at: datetime) -> Opened:
        found = _found(records, ctx, prepared.draft)
        if found is not None:
            return _again(found)
        if any(records.find(each) is None for each in prepared.similar):
            # Its copy would outlive it.
            raise Conflict("a similar case was removed meanwhile", next_step="Open the item again.")
        spec = self._desk.spec(prepared.draft.queue)
        row = _row(records.number("item"), ctx, prepared, spec, at)
        if row.golden:
            row = _disguised(records, row)
        prepared.content.keep(records, row.id)
        if prepared.expected is not None:
            prepared.expected.keep(records, row.id)
        records.hold(row.id, prepared.similar)
        row = self._desk.keep(records, machine.begun(row, spec, at), at)
        return Opened(item_of(row), prepared.matched, created=True)


def _row(number: int, ctx: Context, prepared: _Prepared, spec: ReviewSpec, at: datetime) -> Row:
    draft, sla = prepared.draft, spec.sla[prepared.draft.priority]
    needed = routing.needed(spec, prepared.unit)
    facts = Facts(
        title=draft.title,
        needed=needed,
        blind=spec.blind or needed > spec.reviewers,
        skills=tuple(sorted({*draft.skills, *spec.skills})),
        excluded=tuple(draft.excluded),
        matched=prepared.matched,
        model=draft.model,
        model_version=draft.model_version,
        request_id=draft.request_id,
        content=prepared.content.id,
        fingerprint=prepared.fingerprint,
        expected="" if prepared.expected is None else prepared.expected.id,
        wrong=prepared.wrong,
    )
    return Row(
        id="review-" + secrets.token_hex(8),
        number=number,
        queue=draft.queue,
        key=draft.key,
        status="open",
        priority=PRIORITIES.index(draft.priority),
        level=0,
        version=1,
        author=ctx.principal,
        assignee="",
        golden=prepared.expected is not None,
        opened_at=at,
        warn_at=at + timedelta(seconds=sla.warn),
        due_at=at + timedelta(seconds=sla.escalate),
        expires_at=at + timedelta(seconds=sla.expire),
        facts=facts,
    )


def _disguised(records: Records, row: Row) -> Row:
    """A golden item with author and rules as its neighbours have them, so that neither tells it apart."""
    usual = next((each for each in records.recent(row.queue, None, 20) if not each.golden), None)
    excluded = (*row.facts.excluded, row.author)
    if usual is None:
        return row
    matched = row.facts.matched or usual.facts.matched
    return replace(row, author=usual.author, facts=replace(row.facts, excluded=excluded, matched=matched))


def _found(records: Records, ctx: Context, draft: Draft) -> Row | None:
    """The item that this draft has opened before. Raises Conflict if the key was used for something else."""
    row = records.keyed(draft.queue, draft.key) if draft.key else None
    if row is None:
        return None
    if row.author != ctx.principal or row.facts.fingerprint != _fingerprint(draft):
        raise Conflict(
            f"the key {draft.key} was used in {draft.queue} for another input, proposal or author",
            next_step="Use one key for one question.",
        )
    return row


def _again(row: Row) -> Opened:
    return Opened(item_of(row), row.facts.matched)


def _fingerprint(draft: Draft) -> str:
    return digest({"input": draft.input, "proposal": draft.proposal})


def _unit(draft: Draft) -> str:
    return draft.key or draft.request_id or _fingerprint(draft)


async def _either(bell: asyncio.Event, seconds: float) -> None:
    """Until the bell rings, or another process may have changed something."""
    waiting = asyncio.ensure_future(bell.wait())
    try:
        await asyncio.wait([waiting], timeout=seconds)
    finally:
        waiting.cancel()


def _check(drafts: Sequence[Draft]) -> None:
    if not 1 <= len(drafts) <= MOST_DRAFTS:
        raise InvalidInput(f"one call opens 1 to {MOST_DRAFTS} items, not {len(drafts)}")
    faults = [
        FieldProblem(f"$.drafts[{place}].{field}", message)
        for place, draft in enumerate(drafts)
        for field, message in _faults(draft)
    ]
    keys = [(draft.queue, draft.key) for draft in drafts if draft.key]
    if len(set(keys)) < len(keys):
        faults.append(FieldProblem("$.drafts", "hold one key twice"))
    if faults:
        raise InvalidInput("a draft cannot be opened", fields=faults)


def _faults(draft: Draft) -> list[tuple[str, str]]:
    signals = draft.signals
    shares = [("confidence", signals.confidence), ("disagreement", signals.disagreement)]
    found = [(f"signals.{name}", "is 0 to 1") for name, share in shares if share is not None and not 0 <= share <= 1]
    if draft.key and not _KEY.fullmatch(draft.key):
        found.append(("key", "is 1 to 200 printable ASCII characters without spaces"))
    short = {"title": draft.title, "question": draft.question, "model": draft.model, "request_id": draft.request_id}
    limits = {"title": 200, "question": 2_000, "model": 200, "request_id": 200}
    found += [
        (name, f"has more than {limits[name]} characters") for name, text in short.items() if len(text) > limits[name]
    ]
    if not draft.title.isprintable():
        found.append(("title", "is one line of printable characters"))
    if not _is_cost(draft.cost):
        found.append(("cost", "is dollars as decimal text, such as 0.0021"))
    if len(draft.skills) > 20 or len(draft.excluded) > 100:
        found.append(("skills", "are at most 20, and 100 are excluded at most"))
    return found


def _is_cost(text: str) -> bool:
    return not text or bool(re.fullmatch(r"\d{1,12}(\.\d{1,12})?", text))
