"""Taking items, keeping them, giving them back, and passing them on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from ..core.context import Context
from ..core.errors import Conflict, InvalidInput, NotAllowed, StanchionError
from ..core.values import Json
from . import machine
from .contract import Case, Item
from .desk import Desk, item_of, must, person_of, undecided
from .machine import Step
from .ports import Records, Row, Wanted
from .reading import Reading
from .seals import Sealed
from .seating import Person, bar

MOST_CLAIMED = 50
_PAGE, _PAGES = 100, 20
_LONGEST = 4_000


class Claiming:
    """Leases on items, and what is done with them besides deciding."""

    def __init__(self, desk: Desk, reading: Reading) -> None:
        self._desk = desk
        self._reading = reading

    async def claim(self, ctx: Context, queue: str, ids: Sequence[str], limit: int) -> Sequence[Case]:
        """See the contract."""
        if not 1 <= limit <= MOST_CLAIMED or len(ids) > MOST_CLAIMED:
            raise InvalidInput(f"one call claims 1 to {MOST_CLAIMED} items")
        if queue:
            self._desk.spec(queue)

        def work(records: Records, at: datetime) -> list[Row]:
            person = person_of(records, ctx, at)
            if ids:
                return self._named(records, person, list(dict.fromkeys(ids)), at)
            return self._next(records, person, queue, limit, at)

        rows = await self._desk.write(ctx, work)
        _note(ctx, rows)
        return await self._reading.cases(ctx, rows)

    async def heartbeat(self, ctx: Context, item: str, token: int) -> datetime:
        """See the contract."""

        def work(records: Records, at: datetime) -> datetime:
            row = must(records, item)
            step = machine.beat(row, self._desk.rules(row), ctx.principal, token, at)
            self._desk.keep(records, step, at)
            return machine.lease_of(step.row, ctx.principal, token, at).until

        return await self._desk.write(ctx, work)

    async def release(self, ctx: Context, item: str, token: int) -> Item:
        """See the contract."""

        def work(records: Records, at: datetime) -> Item:
            row = must(records, item)
            return self._kept(records, machine.give_back(row, self._desk.rules(row), ctx.principal, token, at), at)

        return await self._desk.write(ctx, work)

    async def defer(self, ctx: Context, item: str, token: int, until: datetime, note: str) -> Item:
        """See the contract."""
        if until.tzinfo is None:
            raise InvalidInput("a moment needs its offset from UTC")
        sealed = await self._note(ctx, note, "defer") if note else None

        def work(records: Records, at: datetime) -> Item:
            row = must(records, item)
            step = machine.defer(row, self._desk.rules(row), ctx.principal, token, until, at)
            return self._kept(records, _noted(records, step, sealed), at)

        return await self._desk.write(ctx, work)

    async def need_info(self, ctx: Context, item: str, token: int, question: str) -> Item:
        """See the contract."""
        sealed = await self._note(ctx, question, "question")

        def work(records: Records, at: datetime) -> Item:
            row = must(records, item)
            step = machine.question(row, self._desk.rules(row), ctx.principal, token, sealed.id, at)
            sealed.keep(records, item)
            return self._kept(records, step, at)

        return await self._desk.write(ctx, work)

    async def inform(self, ctx: Context, item: str, text: str) -> Item:
        """See the contract."""
        sealed = await self._note(ctx, text, "answer")

        def work(records: Records, at: datetime) -> Item:
            row = must(records, item)
            step = machine.inform(row, self._desk.rules(row), ctx.principal, sealed.id, at)
            sealed.keep(records, item)
            return self._kept(records, step, at)

        return await self._desk.write(ctx, work)

    async def delegate(self, ctx: Context, item: str, to: str, note: str) -> Item:
        """See the contract."""
        sealed = await self._note(ctx, note, "delegate") if note else None

        def work(records: Records, at: datetime) -> Item:
            row = undecided(must(records, item))
            barred = {row.author, *row.facts.excluded, *(vote.by for vote in row.state.votes)}
            if not to or len(to) > 200 or to in barred:
                raise InvalidInput(f"{item} cannot go to {to[:80]!r}, who is its author, excluded, or has decided it")
            step = machine.offer(row, self._desk.rules(row), to, at, by=ctx.principal)
            return self._kept(records, _noted(records, step, sealed), at)

        return await self._desk.write(ctx, work)

    def _named(self, records: Records, person: Person, ids: Sequence[str], at: datetime) -> list[Row]:
        taken: list[Row] = []
        for item in ids:
            try:
                row = self._taken(records, person, must(records, item), at)
            except StanchionError:
                if len(ids) == 1:
                    raise
                continue
            person = replace(person, held=person.held + 1)
            taken.append(row)
        return taken

    def _next(self, records: Records, person: Person, queue: str, limit: int, at: datetime) -> list[Row]:
        taken: list[Row] = []
        free = person.reviewer.capacity - person.held
        for row in self._open(records, queue):
            if len(taken) >= min(limit, free):
                break
            spec = self._desk.specs.get(row.queue)
            if spec is None or (person.reviewer.queues and row.queue not in person.reviewer.queues):
                continue
            mine = any(lease.holder == person.reviewer.principal for lease in row.state.leases)
            if not mine and not bar(row, spec, person, at) and machine.seats(row, spec):
                step = machine.take(row, spec, person.reviewer.principal, at)
                taken.append(self._desk.keep(records, step, at))
        return taken

    def _open(self, records: Records, queue: str) -> Iterator[Row]:
        after = ""
        for _ in range(_PAGES):
            rows = records.page(Wanted(queue, ("open",), after=after), _PAGE)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = rows[-1].id

    def _taken(self, records: Records, person: Person, row: Row, at: datetime) -> Row:
        who = person.reviewer.principal
        if any(lease.holder == who for lease in row.state.leases):
            return row
        spec = self._desk.spec(row.queue)
        undecided(row)
        if reason := bar(row, spec, person, at):
            raise NotAllowed(reason, next_step="Take another item, or have it delegated.")
        if person.held >= person.reviewer.capacity:
            raise Conflict(f"{who} holds {person.held} items already", next_step="Decide or release one first.")
        return self._desk.keep(records, machine.take(row, spec, who, at), at)

    def _kept(self, records: Records, step: Step, at: datetime) -> Item:
        return item_of(self._desk.keep(records, step, at))

    async def _note(self, ctx: Context, text: str, kind: str) -> Sealed:
        if not text.strip() or len(text) > _LONGEST:
            raise InvalidInput(f"a note has 1 to {_LONGEST} characters")
        note: dict[str, Json] = {
            "by": ctx.principal,
            "kind": kind,
            "text": text,
            "at": self._desk.now().isoformat(),
        }
        return await self._desk.seals.seal(ctx.tenant, note)


def _noted(records: Records, step: Step, sealed: Sealed | None) -> Step:
    """The step with a note added, which every reader of the item sees from here on."""
    if sealed is None:
        return step
    row = step.row
    sealed.keep(records, row.id)
    state = replace(row.state, notes=(*row.state.notes, sealed.id))
    return Step(replace(row, version=row.version + 1, state=state), step.news)


def _note(ctx: Context, rows: Sequence[Row]) -> None:
    if ctx.effect is not None:
        ctx.effect.note(claimed=len(rows), items=",".join(row.id for row in rows[:10]))
