"""Decisions: taken one by one, each about exactly what its reviewer was shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, get_args

from ..core.context import Context
from ..core.errors import Conflict, FieldProblem, InvalidInput, NotAllowed, NotFound, StanchionError
from ..core.values import Json
from . import machine, patch
from .canonical import digest
from .contract import MOST_SUBMISSIONS, Item, ReviewSpec, Settled, Submission, Verdict
from .desk import Desk, item_of, must, rights_of
from .patch import Operation
from .ports import Records, Row, Vote
from .reading import Reading
from .seals import Sealed
from .showing import Shown, covered, show

_LONGEST = 4_000


@dataclass(frozen=True, slots=True)
class _Ready:
    """A submission that is sound in itself, with what will be stored."""

    given: Submission
    version: int
    text: Sealed
    shown: Sealed
    result: str
    right: bool | None


class Deciding:
    """Takes decisions and takes them back."""

    def __init__(self, desk: Desk, reading: Reading) -> None:
        self._desk = desk
        self._reading = reading

    async def decide(self, ctx: Context, submissions: Sequence[Submission]) -> Sequence[Settled]:
        """See the contract."""
        if not 1 <= len(submissions) <= MOST_SUBMISSIONS:
            raise InvalidInput(f"one call decides 1 to {MOST_SUBMISSIONS} items, not {len(submissions)}")
        names = list(dict.fromkeys(each.item for each in submissions))
        found = await self._desk.store.read(ctx.tenant, lambda records: [records.find(name) for name in names])
        rows = {row.id: row for row in found if row is not None}
        texts = await self._reading.texts(ctx.tenant, list(rows.values()))
        expected = await self._desk.seals.read(ctx.tenant, [row.facts.expected for row in rows.values()])
        ready = [await self._ready(ctx, each, rows, texts, expected) for each in submissions]

        def work(records: Records, at: datetime) -> list[Settled]:
            return [each if isinstance(each, Settled) else self._taken(records, ctx, each, at) for each in ready]

        settled = await self._desk.write(ctx, work)
        if ctx.effect is not None:
            taken = [each for each in settled if each.error is None]
            ctx.effect.note(
                decided=len(taken), refused=len(settled) - len(taken), items=",".join(s.item for s in taken[:10])
            )
        return settled

    async def undo(self, ctx: Context, item: str) -> Item:
        """See the contract."""

        def work(records: Records, at: datetime) -> Item:
            row = must(records, item)
            step = machine.undo(row, self._desk.rules(row), ctx.principal, at)
            return item_of(self._desk.keep(records, step, at))

        return await self._desk.write(ctx, work)

    async def _ready(
        self,
        ctx: Context,
        given: Submission,
        rows: Mapping[str, Row],
        texts: Mapping[str, Any],
        expected: Mapping[str, Any],
    ) -> _Ready | Settled:
        try:
            if given.item not in rows:
                raise NotFound(f"there is no item {given.item[:80]} under review")
            row = rows[given.item]
            spec = self._desk.spec(row.queue)
            _check(given, spec)
            shown = show(row, spec, texts, rights_of(ctx))
            _check_shown(given, row, shown)
            told, value = _told(given, spec, texts[row.facts.content]["proposal"], shown)
            right = _right(given.verdict, value, expected.get(row.facts.expected))
            return _Ready(
                given=given,
                version=row.version,
                text=await self._desk.seals.seal(ctx.tenant, told),
                shown=await self._desk.seals.seal(ctx.tenant, shown.document),
                result=digest([row.id, value]),
                right=right,
            )
        except StanchionError as error:
            return Settled(given.item, error=error.problem())

    def _taken(self, records: Records, ctx: Context, ready: _Ready, at: datetime) -> Settled:
        given = ready.given
        try:
            row = must(records, given.item)
            _check_present(row, ready.version, ctx.principal)
            vote = Vote(
                by=ctx.principal,
                verdict=given.verdict,
                reason=given.reason,
                text=ready.text.id,
                shown=ready.shown.id,
                digest=given.digest,
                result=ready.result,
                at=at,
                seconds=0.0,
                right=ready.right,
            )
            step = machine.vote(row, self._desk.rules(row), vote, given.token)
        except StanchionError as error:
            return Settled(given.item, error=error.problem())
        ready.text.keep(records, row.id)
        ready.shown.keep(records, row.id)
        row = self._desk.keep(records, step, at)
        return Settled(row.id, row.status, row.version, None if row.state.ending is None else row.state.ending.verdict)


def _check(given: Submission, spec: ReviewSpec) -> None:
    faults = []
    if given.verdict not in get_args(Verdict):
        faults.append(FieldProblem("$.verdict", f"is one of {', '.join(get_args(Verdict))}"))
    codes = spec.reasons.get(given.verdict, ())
    if codes and given.reason not in codes:
        faults.append(FieldProblem("$.reason", f"of {given.verdict} is one of {', '.join(codes)}"))
    if len(given.reason) > 100 or len(given.note) > _LONGEST:
        faults.append(FieldProblem("$.note", f"a reason has at most 100 characters, a note {_LONGEST}"))
    if given.verdict != "edit" and (given.value is not None or given.patch is not None):
        faults.append(FieldProblem("$.value", "only an edit has a value or a patch"))
    if given.verdict == "edit" and (given.value is None) == (given.patch is None):
        faults.append(FieldProblem("$.value", "an edit has either a value or a patch"))
    if faults:
        raise InvalidInput("the decision cannot be taken", fields=faults)


def _check_shown(given: Submission, row: Row, shown: Shown) -> None:
    if given.version != row.version:
        raise Conflict(f"{row.id} is at version {row.version}, not {given.version}", next_step="Look at it anew.")
    if given.digest != shown.digest:
        raise Conflict(
            f"the decision on {row.id} is about something else than what is shown to this reviewer",
            next_step="Look at the item anew and decide on that.",
        )


def _check_present(row: Row, version: int, who: str) -> None:
    """What was shown outside this transaction still stands, and nobody decides twice or for themselves."""
    if row.version != version:
        raise Conflict(f"{row.id} is at version {row.version}, not {version}", next_step="Look at it anew.")
    if who == row.author or who in row.facts.excluded:
        raise NotAllowed(f"{who} must not decide {row.id}")
    if any(vote.by == who for vote in row.state.votes):
        raise Conflict(f"{who} has decided {row.id} already")


def _told(given: Submission, spec: ReviewSpec, proposal: Json, shown: Shown) -> tuple[dict[str, Json], Json]:
    """What is kept of a decision (value, patch, note), and the value that holds if it stands."""
    if given.verdict != "edit":
        value = proposal if given.verdict == "approve" else None
        return {"value": value, "patch": [], "note": given.note}, value
    changes: list[Operation] = (
        list(given.patch) if given.patch is not None else patch.diff(shown.document["proposal"], given.value)
    )
    places = ["/proposal" + pointer for pointer in patch.touched(changes)]
    if hidden := covered(places, shown.masked):
        raise InvalidInput(f"the edit touches {hidden}, which is masked for this reviewer")
    value = patch.apply(proposal, changes)
    if patch.same(value, proposal):
        raise InvalidInput("the edit changes nothing", next_step="Approve the proposal, or change it.")
    if spec.check is not None:
        try:
            spec.check(value)
        except ValueError as error:
            raise InvalidInput(f"the edited proposal will not do: {error}") from error
    # As it changes the stored proposal, whatever the reviewer's patch looked like.
    return {"value": value, "patch": list(patch.diff(proposal, value)), "note": given.note}, value


def _right(verdict: Verdict, value: Json, expected: Mapping[str, Any] | None) -> bool | None:
    if expected is None or verdict == "escalate":
        return None
    if verdict != expected["verdict"]:
        return False
    return verdict != "edit" or expected["value"] is None or patch.same(value, expected["value"])
