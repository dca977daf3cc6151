"""Labels and outcomes that arrive later: joined to the predictions they are about, once each."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from typing import Literal, NamedTuple, cast

from sqlalchemy import Connection, insert, select, update

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, NotFound, PayloadTooLarge, StanchionError
from ...core.storage import Database
from ...core.values import Json
from ..contract import Noted, Truth
from .journal import Journal
from .tables import predictions, truths

MOST = 1_000
_LONGEST = 200
# No control characters and no half surrogates: not every store holds them.
_TEXT = re.compile(rf"[^\x00-\x1f\x7f\ud800-\udfff]{{1,{_LONGEST}}}")
_STATUSES = ("stored", "corrected", "repeated", "refused")
Status = Literal["stored", "corrected", "repeated"]


class _Value(NamedTuple):
    """One thing that was true: `metric` is empty for a label, which is a number or a class."""

    metric: str
    number: float | None
    label: str | None


class _Kept(NamedTuple):
    """A prediction that a truth may be about."""

    request_id: str
    instance: int
    at: int
    model: str
    version: str
    arm: str
    shadow: bool
    rung: str
    score: float | None
    predicted: str | None


class FeedbackDesk:
    """Takes truths in. What waits in this process's journal is stored first, so that a quick truth finds it."""

    def __init__(self, database: Database, journal: Journal, clock: Clock) -> None:
        self._database = database
        self._journal = journal
        self._clock = clock

    async def take(self, ctx: Context, items: Sequence[Truth]) -> Sequence[Noted]:
        """What the contract says."""
        if not items:
            raise InvalidInput("there is no item", fields=[FieldProblem("$.items", "Give at least one")])
        if len(items) > MOST:
            raise PayloadTooLarge(f"{len(items)} items are more than {MOST} in one call")
        values = [_checked(item, place) for place, item in enumerate(items)]
        await self._journal.flush()
        now = micros(self._clock.now())

        def work(connection: Connection) -> list[Noted]:
            known = _predictions(connection, ctx.tenant, {item.request_id for item in items})
            noted = [
                _refused(each) if isinstance(each, InvalidInput) else _noted(connection, ctx, item, each, known, now)
                for item, each in zip(items, values, strict=True)
            ]
            if ctx.effect is not None:
                # The audit event is written in this very transaction.
                ctx.effect.note(**{status: sum(each.status == status for each in noted) for status in _STATUSES})
            return noted

        return await self._database.write(ctx, work)


def _checked(item: Truth, place: int) -> Sequence[_Value] | InvalidInput:
    path = f"$.items[{place}]"
    problems = []
    values = []
    if item.label is None and item.outcome is None:
        problems.append(FieldProblem(path, "Give a label, an outcome, or both"))
    if not _TEXT.fullmatch(item.request_id):
        problems.append(FieldProblem(f"{path}.request_id", "Expected the request_id of an answer"))
    if isinstance(item.label, str):
        if not _TEXT.fullmatch(item.label):
            problems.append(FieldProblem(f"{path}.label", f"Expected a text of 1 to {_LONGEST} characters"))
        values.append(_Value("", None, item.label))
    elif item.label is not None:
        if not math.isfinite(item.label):
            problems.append(FieldProblem(f"{path}.label", "Expected a finite number"))
        values.append(_Value("", float(item.label), None))
    if item.outcome is not None:
        if not math.isfinite(item.outcome):
            problems.append(FieldProblem(f"{path}.outcome", "Expected a finite number"))
        if not _TEXT.fullmatch(item.metric):
            problems.append(FieldProblem(f"{path}.metric", f"Expected a text of 1 to {_LONGEST} characters"))
        values.append(_Value(item.metric, float(item.outcome), None))
    if problems:
        return InvalidInput(f"{problems[0].path}: {problems[0].message}", fields=problems)
    return values


def _predictions(
    connection: Connection, tenant: str, request_ids: set[str]
) -> Mapping[tuple[str, int], Sequence[_Kept]]:
    c = predictions.c
    columns = (c.request_id, c.instance, c.at, c.model, c.version, c.arm, c.shadow, c.rung, c.score, c.predicted)
    query = select(*columns).where(c.tenant == tenant, c.request_id.in_(sorted(request_ids))).order_by(c.id)
    found: dict[tuple[str, int], list[_Kept]] = {}
    for row in connection.execute(query):
        found.setdefault((row.request_id, row.instance), []).append(_Kept._make(row))
    return found


def _noted(
    connection: Connection,
    ctx: Context,
    item: Truth,
    values: Sequence[_Value],
    known: Mapping[tuple[str, int], Sequence[_Kept]],
    now: int,
) -> Noted:
    rows = [row for row in known.get((item.request_id, item.instance), ()) if row.rung != "refused"]
    served = next((row for row in rows if not row.shadow), rows[0] if rows else None)
    if served is None:
        return _refused(
            NotFound(
                "no prediction with this request id and instance was kept",
                next_step="Send the request_id of the answer; declare journal=Keep() so that answers are kept.",
            )
        )
    statuses: set[Status] = set()
    for value in values:
        # A label is true whoever predicted it; what came of an answer came of the answer that was given.
        for row in rows if value.metric == "" else [row for row in rows if not row.shadow]:
            statuses.add(_put(connection, ctx.tenant, row, value, now))
    order: tuple[Status, ...] = ("corrected", "stored", "repeated")
    status: Status = next((each for each in order if each in statuses), "repeated")
    return Noted(status, served.model, served.version)


def _put(connection: Connection, tenant: str, row: _Kept, value: _Value, now: int) -> Status:
    c = truths.c
    same = (
        c.tenant == tenant,
        c.request_id == row.request_id,
        c.instance == row.instance,
        c.version == row.version,
        c.arm == row.arm,
        c.metric == value.metric,
    )
    held = connection.execute(select(c.id, c.number, c.label).where(*same)).first()
    if held is not None:
        if (held.number, held.label) == (value.number, value.label):
            return "repeated"
        connection.execute(update(truths).where(c.id == held.id).values(number=value.number, label=value.label, at=now))
        return "corrected"
    connection.execute(
        insert(truths).values(
            tenant=tenant,
            request_id=row.request_id,
            instance=row.instance,
            version=row.version,
            arm=row.arm,
            metric=value.metric,
            model=row.model,
            predicted_at=row.at,
            at=now,
            score=row.score,
            predicted=row.predicted,
            number=value.number,
            label=value.label,
        )
    )
    return "stored"


def _refused(error: StanchionError) -> Noted:
    # A problem document holds plain JSON values only; its own type says less.
    return Noted("refused", error=cast(Mapping[str, Json], error.problem()))
