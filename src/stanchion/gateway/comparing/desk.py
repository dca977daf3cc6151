"""Keeps scores, and compares variants over the ledger of spend."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Connection, and_, case, delete, func, insert, select

from ...core.clock import Clock, micros
from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput, NotFound
from ...core.storage import Database
from ..contract.comparison import Comparison, Comparisons, Estimate, Score, Variant
from ..money.calls import tag_of
from ..money.ledger import SpendLedger
from ..money.subjects import storable
from ..money.tables import spend
from ..prompts.calls import PROMPT, UNIT
from .statistics import Mean, difference, estimate, mean_of
from .tables import scores

_MOST_SCORES, _MOST_ROWS, _MOST_DAYS = 1_000, 500_000, 400
_LONGEST = 64


class _Seen(NamedTuple):
    """A request as it was answered by one variant."""

    variant: str
    unit: str
    cost: float
    took: float
    whole: bool
    score: float | None


class Comparer(Comparisons):
    """Compares over one database. What this process has settled is stored before it is read."""

    def __init__(self, database: Database, ledger: SpendLedger, *, clock: Clock) -> None:
        self._database = database
        self._ledger = ledger
        self._clock = clock

    async def score(self, ctx: Context, scores: Sequence[Score]) -> int:
        _check(scores)
        await self._ledger.flush()
        given = {(storable(each.request_id), each.name): each.value for each in scores}
        wanted = {request for request, _ in given}
        known = select(spend.c.request_id).where(spend.c.tenant == ctx.tenant, spend.c.request_id.in_(wanted))
        found = set(await self._database.read(lambda each: each.execute(known.distinct()).scalars().all()))
        if wanted - found:
            raise NotFound(
                f"no model answered the request {min(wanted - found)[:64]!r}",
                next_step="Send the `x-request-id` of an answer of this tenant.",
            )
        at = micros(self._clock.now())
        rows = [
            {"tenant": ctx.tenant, "request_id": r, "name": n, "value": v, "scored_by": ctx.principal, "at": at}
            for (r, n), v in given.items()
        ]
        if ctx.effect is not None:
            ctx.effect.note(scores=len(rows))
        await self._database.write(ctx, lambda connection: _put(connection, rows))
        return len(rows)

    async def compare(
        self,
        ctx: Context,
        *,
        prompt: str = "",
        route: str = "",
        start: date | None = None,
        end: date | None = None,
        score: str = "score",
        baseline: str = "",
        confidence: float = 0.95,
    ) -> Comparison:
        if bool(prompt) == bool(route):
            problem = FieldProblem("$.prompt", "Expected a prompt here, or a route in $.route, and not both")
            raise InvalidInput("name either a prompt or a route", fields=[problem])
        if not 0.5 <= confidence <= 0.999:
            raise InvalidInput("the confidence is 0.5 to 0.999", fields=[FieldProblem("$.confidence", "0.5 to 0.999")])
        seen = await self._seen(ctx.tenant, prompt, route, score, *self._days(start, end))
        subject = f"prompt:{prompt}" if prompt else f"route:{route}"
        if not seen:
            step = "Take more days, or another name: calls are compared that named the prompt or asked for the route."
            raise NotFound(f"no call of {subject} was made in these days", next_step=step)
        return _compared(subject, seen, baseline, confidence)

    async def _seen(
        self, tenant: str, prompt: str, route: str, score: str, first: int, last: int
    ) -> Mapping[str, list[_Seen]]:
        await self._ledger.flush()
        variant, chosen = self._variant(prompt, route)
        unit = func.coalesce(func.nullif(tag_of(self._database.dialect, UNIT), ""), spend.c.key)
        mine = and_(
            scores.c.tenant == spend.c.tenant, scores.c.request_id == spend.c.request_id, scores.c.name == score
        )
        query = (
            select(
                variant.label("variant"),
                unit.label("unit"),
                func.sum(spend.c.cost).label("cost"),
                func.sum(spend.c.took).label("took"),
                func.max(case((spend.c.outcome == "ok", 1), else_=0)).label("whole"),
                func.max(scores.c.value).label("score"),
            )
            .select_from(spend.outerjoin(scores, mine))
            .where(spend.c.tenant == tenant, spend.c.at >= first, spend.c.at < last, chosen)
            # Attempts of one request at one variant are one observation.
            .group_by(spend.c.request_id, variant, unit)
            .limit(_MOST_ROWS + 1)
        )
        rows = await self._database.read(lambda connection: connection.execute(query).all())
        if len(rows) > _MOST_ROWS:
            raise InvalidInput(f"there are more than {_MOST_ROWS} requests", next_step="Compare fewer days at once.")
        found: dict[str, list[_Seen]] = {}
        for row in rows:
            each = _Seen(row.variant, row.unit, float(row.cost), float(row.took) / 1000, bool(row.whole), row.score)
            found.setdefault(row.variant, []).append(each)
        return found

    def _variant(self, prompt: str, route: str) -> tuple[ColumnElement[Any], ColumnElement[bool]]:
        """What tells variants apart, and which rows are meant."""
        if route:
            return spend.c.provider + "/" + spend.c.model, spend.c.route == storable(route)
        tag = tag_of(self._database.dialect, PROMPT)
        return tag, tag.startswith(f"{storable(prompt)}@", autoescape=True)

    def _days(self, start: date | None, end: date | None) -> tuple[int, int]:
        last = end or self._clock.now().date() + timedelta(days=1)
        first = start or last - timedelta(days=7)
        if not timedelta(0) < last - first <= timedelta(days=_MOST_DAYS):
            problem = FieldProblem("$.end", f"is 1 to {_MOST_DAYS} days after start")
            raise InvalidInput("the days are not valid", fields=[problem])
        one, two = (micros(datetime(each.year, each.month, each.day, tzinfo=UTC)) for each in (first, last))
        return one, two


class _Means(NamedTuple):
    cost: Mean
    latency: Mean | None
    score: Mean | None


def _compared(subject: str, seen: Mapping[str, list[_Seen]], baseline: str, confidence: float) -> Comparison:
    base = baseline or max(seen, key=lambda name: (len(seen[name]), name))
    if base not in seen:
        raise NotFound(
            f"no call of the variant {base[:64]!r} was made",
            next_step=f"There are {', '.join(sorted(seen, key=_place))}.",
        )
    means = {name: _means(rows) for name, rows in seen.items()}
    variants = []
    for name, rows in sorted(seen.items(), key=lambda each: _place(each[0])):
        cost, latency, score = means[name]
        over: list[Estimate | None] = [None, None, None]
        if name != base:
            pairs = zip(means[name], means[base], strict=True)
            over = [_over(one, other, confidence, len(seen) - 1) for one, other in pairs]
        variants.append(
            Variant(
                name=name,
                requests=len(rows),
                units=cost.units,
                broken=sum(not row.whole for row in rows),
                scored=sum(row.score is not None for row in rows),
                cost=estimate(cost, confidence),
                latency=None if latency is None else estimate(latency, confidence),
                score=None if score is None else estimate(score, confidence),
                over_cost=over[0],
                over_latency=over[1],
                over_score=over[2],
            )
        )
    return Comparison(subject, base, confidence, tuple(variants))


def _place(name: str) -> tuple[str, int]:
    """Versions of a prompt in the order of their numbers, models by name."""
    prompt, _, version = name.rpartition("@")
    return (prompt, int(version)) if version.isdecimal() else (name, 0)


def _means(rows: Sequence[_Seen]) -> _Means:
    cost = mean_of((row.unit, row.cost) for row in rows)
    latency = mean_of((row.unit, row.took) for row in rows if row.took)
    return _Means(cost or Mean(0.0, 0, 0.0), latency, mean_of((r.unit, r.score) for r in rows if r.score is not None))


def _over(one: Mean | None, base: Mean | None, confidence: float, among: int) -> Estimate | None:
    return None if one is None or base is None else difference(one, base, confidence, among=among)


def _check(scores: Sequence[Score]) -> None:
    if not 1 <= len(scores) <= _MOST_SCORES:
        raise InvalidInput(f"1 to {_MOST_SCORES} scores are taken at once")
    for place, each in enumerate(scores):
        if not math.isfinite(each.value) or not 1 <= len(each.name) <= _LONGEST or not each.name.isprintable():
            problem = FieldProblem(f"$.scores[{place}]", f"Expected a finite number and a name of up to {_LONGEST}")
            raise InvalidInput("a score is not valid", fields=[problem])


def _put(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    for row in rows:
        key = [scores.c[name] == row[name] for name in ("tenant", "request_id", "name")]
        connection.execute(delete(scores).where(*key))
    connection.execute(insert(scores), list(rows))
