"""Which models of a route a call may be sent to, in what order, and what it may cost at each."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...core.context import Context, Sensitivity
from ...core.errors import (
    BudgetExceeded,
    InvalidInput,
    NotAllowed,
    StanchionError,
    Throttled,
    Unavailable,
)
from ...core.flags.split import choose
from ..contract.calls import Usage
from ..contract.gateway import PlannedRung
from ..ports import Price, Prices
from .asked import Asked
from .prices import affordable, price_of
from .served import Served
from .table import Target
from .ways import Way

Why = Literal["shape", "size", "condition", "data", "cost", "out", "drained"]
WhyNot = Callable[[Served], str]
_LEAST_OUT = 16


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that may be asked. `tokens_out` is what is set aside for its answer and `most` its cost in picodollars.

    `bound` is the limit that the upstream is told where the client set none and the route has a cost to keep.
    """

    served: Served
    way: Way
    price: Price | None
    tokens_out: int
    bound: int | None
    most: int


@dataclass(frozen=True, slots=True)
class Refused:
    """A model that may not be asked, and why."""

    served: Served
    why: Why
    reason: str
    price: Price | None = None
    most: int | None = None


def ordered(ctx: Context, target: Target) -> Sequence[Served]:
    """The rungs of the route for this call: whom the weights draw comes first."""
    weights = target.spec.weights
    if not weights:
        return target.rungs
    first = choose(f"gateway:{target.route}", ctx.request_id, weights)
    return sorted(target.rungs, key=lambda rung: rung.spec.name != first)


class Chooser:
    """Applies a route's limits to a call. `output_tokens` is what is set aside where nobody says how long; `drained`
    says of a tenant and an upstream whether calls are kept from it.
    """

    def __init__(
        self,
        prices: Prices | None,
        *,
        output_tokens: int,
        drained: Callable[[str, str], bool] = lambda tenant, upstream: False,
    ) -> None:
        self._prices = prices
        self._output_tokens = output_tokens
        self._drained = drained

    def judge(
        self, ctx: Context, asked: Asked, target: Target, label: Sensitivity, data: WhyNot
    ) -> list[Candidate | Refused]:
        """Every rung in order. `data` says why the call's data may not go to a model; empty where it may."""
        rungs = ordered(ctx, target)
        if asked.ask.background:
            rungs = [rung.behind for rung in rungs]
        return [self._judge(ctx, asked, target, rung, label, data) for rung in rungs]

    def _judge(
        self, ctx: Context, asked: Asked, target: Target, rung: Served, label: Sensitivity, data: WhyNot
    ) -> Candidate | Refused:
        way = rung.ways.get(asked.ask.shape)
        if way is None:
            return Refused(rung, "shape", f"it does not serve {asked.ask.shape}")
        if rung.spec.context is not None and asked.tokens_in > rung.spec.context:
            return Refused(rung, "size", f"about {asked.tokens_in} tokens pass its context of {rung.spec.context}")
        if reason := data(rung):
            return Refused(rung, "data", reason)
        condition = target.conditions.get(rung.spec.name)
        if condition is not None and not condition.holds(_facts(ctx, asked, rung, label)):
            return Refused(rung, "condition", "its condition does not hold")
        if self._drained(ctx.tenant, rung.upstream.name):
            return Refused(rung, "drained", "its upstream is drained")
        if rung.out:
            return Refused(rung, "out", f"it asked to be left alone for {rung.out:.0f} s more")
        return self._within(asked, target, rung, way)

    def _within(self, asked: Asked, target: Target, rung: Served, way: Way) -> Candidate | Refused:
        price = price_of(rung.declared_price, rung.upstream, rung.model, self._prices)
        wanted = self._wanted(asked, rung)
        out = wanted * asked.answers
        bound: int | None = None
        given = asked.tokens_in * way.times(asked)
        most = 0 if price is None else price.cost(Usage(given, out))
        if target.max_cost is not None:
            if price is None:
                return Refused(rung, "cost", "it has no known price, and the route has a max_cost")
            if most > target.max_cost:
                fits = affordable(price, given, target.max_cost) // asked.answers
                if asked.most_out is not None or not asked.generates or fits < _LEAST_OUT:
                    return Refused(rung, "cost", "the call could cost more than the route's max_cost", price, most)
                bound, out = fits, fits * asked.answers
                most = price.cost(Usage(given, out))
            elif asked.most_out is None and asked.generates:
                bound = wanted
        return Candidate(rung, way, price, out, bound, most)

    def _wanted(self, asked: Asked, rung: Served) -> int:
        if asked.most_out is not None:
            return asked.most_out
        return self._output_tokens if rung.spec.max_output is None else min(rung.spec.max_output, self._output_tokens)


def nobody(refused: Sequence[Refused]) -> StanchionError:
    """The error of a call that no model may be asked for, with each one's reason."""
    story = "; ".join(f"{each.served.spec.name}: {each.reason}" for each in refused)
    reasons = {each.why for each in refused}
    if "out" in reasons:
        wait = min(each.served.out for each in refused if each.why == "out")
        return Throttled(f"no model takes the call now ({story})", retry_after=max(wait, 0.001))
    if "cost" in reasons:
        return BudgetExceeded(
            f"no model may answer within the route's limits ({story})",
            next_step="Ask for fewer tokens, or raise the max_cost of the route.",
        )
    if "data" in reasons:
        return NotAllowed(
            f"no model may have this data ({story})",
            next_step="Add an upstream that is marked on-premises to the route.",
        )
    if reasons <= {"shape", "size"}:
        return InvalidInput(f"no model can take the call ({story})", next_step="Ask another model or route.")
    if "drained" in reasons:
        step = "Add a model of another upstream to the route, or end the drain."
        return Unavailable(f"no model takes the call ({story})", next_step=step)
    return Unavailable(f"no model takes the call ({story})", next_step="Change the conditions of the route.")


def _facts(ctx: Context, asked: Asked, rung: Served, label: Sensitivity) -> dict[str, Any]:
    return {
        "tenant": ctx.tenant,
        "tags": dict(asked.ask.tags),
        "tokens": asked.tokens_in,
        "label": label,
        "region": rung.upstream.region,
    }


def planned(judged: Candidate | Refused) -> PlannedRung:
    """What is told of a model that was judged for a call."""
    served = judged.served
    if isinstance(judged, Refused):
        return PlannedRung(served.spec.name, served.upstream.name, judged.reason, judged.most, False)
    cost = None if judged.price is None else judged.most
    return PlannedRung(served.spec.name, served.upstream.name, "", cost, judged.way.passes)
