"""A route as a form shows it, and a form as the route that it asks for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import get_args

from .....core.errors import InvalidInput, Misconfigured
from .....gateway import Balance, RouteSpec
from ...forms import number, whole

SLOTS = 12
_EMPTY = 2
_FEWEST = 4
_MOST_MS = 3_600_000
_MOST_SECONDS = 30 * 86_400
BALANCES: tuple[Balance, ...] = get_args(Balance)


@dataclass(frozen=True, slots=True)
class Slot:
    """A place in the order of models, in the words of the form."""

    model: str = ""
    weight: str = ""
    condition: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """The fields of the form. `version` is the one that it replaces."""

    name: str = ""
    version: str = "0"
    slots: Sequence[Slot] = (Slot(),) * _FEWEST
    max_latency_ms: str = ""
    max_cost: str = ""
    attempts: str = "1"
    hedge_ms: str = ""
    cache_seconds: str = ""
    balance: str = ""
    given: bool = field(default=False)


def draft_of(source: RouteSpec | Mapping[str, str]) -> Draft:
    """The form of a route as it is, or the form as it was sent."""
    if isinstance(source, RouteSpec):
        return _of_spec(source)
    slots = [
        Slot(source.get(f"model-{n}", ""), source.get(f"weight-{n}", ""), source.get(f"condition-{n}", ""))
        for n in range(1, SLOTS + 1)
        if f"model-{n}" in source
    ]
    options = ("name", "version", "max_latency_ms", "max_cost", "attempts", "hedge_ms", "cache_seconds", "balance")
    return Draft(slots=slots, given=True, **{name: source.get(name, "") for name in options})


def _of_spec(spec: RouteSpec) -> Draft:
    slots = [
        Slot(model, f"{spec.weights[model]:g}" if model in spec.weights else "", spec.conditions.get(model, ""))
        for model in spec.models
    ]
    room = min(SLOTS, max(_FEWEST, len(slots) + _EMPTY)) - len(slots)
    return Draft(
        name=spec.name,
        slots=[*slots, *[Slot()] * room],
        max_latency_ms=_text(spec.max_latency_ms),
        max_cost=spec.max_cost or "",
        attempts=str(spec.attempts),
        hedge_ms=_text(spec.hedge_ms),
        cache_seconds=_text(spec.cache_seconds),
        balance=spec.balance,
    )


def spec_of(name: str, form: Mapping[str, str], present: RouteSpec | None = None) -> RouteSpec:
    """The route that the form asks for; what the form has no field for stays as it is. Raises InvalidInput."""
    models: list[str] = []
    weights: dict[str, float] = {}
    conditions: dict[str, str] = {}
    for place in range(1, SLOTS + 1):
        model = form.get(f"model-{place}", "").strip()
        if not model:
            continue
        models.append(model)
        if weight := form.get(f"weight-{place}", "").strip():
            weights[model] = number(weight, name=f"the weight of {model}", least=0, most=1e6)
        if condition := form.get(f"condition-{place}", "").strip():
            conditions[model] = condition
    if not models:
        raise InvalidInput("the route asks no model", next_step="Choose the model that is asked first.")
    try:
        return replace(
            present or RouteSpec(name=name, primary=models[0]),
            primary=models[0],
            fallbacks=tuple(models[1:]),
            max_latency_ms=whole(form.get("max_latency_ms", ""), name="the longest time", least=1, most=_MOST_MS),
            max_cost=form.get("max_cost", "").strip() or None,
            weights=weights,
            conditions=conditions,
            attempts=whole(form.get("attempts", ""), name="attempts", least=1, most=10) or 1,
            hedge_ms=whole(form.get("hedge_ms", ""), name="the hedge", least=1, most=_MOST_MS),
            cache_seconds=whole(form.get("cache_seconds", ""), name="the cache", least=1, most=_MOST_SECONDS),
            balance=next((each for each in BALANCES if each == form.get("balance", "")), ""),
        )
    except Misconfigured as error:
        raise InvalidInput(error.detail, next_step=error.hint) from error


def _text(value: int | None) -> str:
    return "" if value is None else str(value)
