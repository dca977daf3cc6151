"""Which budgets cover a call."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, cast

from ...core.errors import FieldProblem, InvalidInput
from ..contract.money import BudgetSpec, Limit, Measure, Window
from .amounts import picodollars

Kind = Literal["tenant", "team", "key", "user", "route", "tag"]
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_KINDS = ("tenant", "team", "key", "user", "route", "tag")
_WINDOWS = ("minute", "hour", "day", "month")
_MOST_COUNT = 10**15
_MOST_CONCURRENCY = 10_000


class Bound(NamedTuple):
    """One number that a budget sets."""

    measure: Measure
    window: Window | None
    limit: int


class Call(NamedTuple):
    """What a budget may be about. `tags` are those that budgets of the tenant ask for."""

    principal: str
    team: str
    route: str
    tags: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Rule:
    """A budget as it is applied."""

    spec: BudgetSpec
    kind: Kind
    name: str
    tag: str
    bounds: tuple[Bound, ...]

    def subject(self, call: Call) -> str | None:
        """The subject that the call counts for; None where the budget does not cover it."""
        match self.kind:
            case "tenant":
                return "tenant"
            case "team":
                return self._named("team:", call.team)
            case "route":
                return self._named("route:", call.route)
            case "tag":
                return self._named(f"tag:{self.tag}=", dict(call.tags).get(self.tag, ""))
            case _:
                everyone = self.name == "*" and (self.kind == "key" or call.principal.startswith("user:"))
                return call.principal if everyone or call.principal == f"{self.kind}:{self.name}" else None

    def _named(self, prefix: str, value: str) -> str | None:
        return prefix + value if value and self.name in ("*", value) else None


def rule(spec: BudgetSpec) -> Rule:
    """The budget as it is applied. Raises InvalidInput with every fault."""
    faults: list[FieldProblem] = []
    if not isinstance(spec.name, str) or not _NAME.fullmatch(spec.name):
        faults.append(FieldProblem("$.name", "has 1 to 64 letters, digits, dots, underscores and hyphens"))
    kind, _, name = spec.subject.partition(":")
    tag, equals, value = name.partition("=") if kind == "tag" else ("", "", name)
    named = bool(value) and (kind != "tag" or bool(tag and equals))
    if kind not in _KINDS or (named if kind == "tenant" else not named) or len(spec.subject) > 300:
        known = "tenant, team:NAME, key:ID, user:NAME, route:NAME or tag:NAME=VALUE (`*` for each)"
        faults.append(FieldProblem("$.subject", f"is {known}"))
    bounds, more = _bounds(spec)
    faults += more
    if faults:
        raise InvalidInput(f"the budget {spec.name!r:.80} is not valid", fields=faults)
    return Rule(spec, cast(Kind, kind), value, tag, bounds)


def _bounds(spec: BudgetSpec) -> tuple[tuple[Bound, ...], list[FieldProblem]]:
    bounds: list[Bound] = []
    faults: list[FieldProblem] = []
    for i, limit in enumerate(spec.limits):
        if limit.window not in _WINDOWS:
            faults.append(FieldProblem(f"$.limits[{i}].window", f"is one of {', '.join(_WINDOWS)}"))
            continue
        try:
            bounds += _of_limit(limit, f"$.limits[{i}]")
        except InvalidInput as error:
            faults += error.fields
    if spec.concurrency is not None:
        if not 0 <= spec.concurrency <= _MOST_CONCURRENCY:
            faults.append(FieldProblem("$.concurrency", f"is from 0 to {_MOST_CONCURRENCY}"))
        bounds.append(Bound("concurrency", None, spec.concurrency))
    if not bounds and not faults:
        faults.append(FieldProblem("$.limits", "sets at least one limit, or there is a concurrency"))
    if len({bound[:2] for bound in bounds}) < len(bounds):
        faults.append(FieldProblem("$.limits", "name a window and measure once"))
    return tuple(bounds), faults


def _of_limit(limit: Limit, path: str) -> list[Bound]:
    bounds: list[Bound] = []
    if limit.cost is not None:
        bounds.append(Bound("cost", limit.window, picodollars(limit.cost, f"{path}.cost")))
    counts: tuple[tuple[Measure, int | None], ...] = (("tokens", limit.tokens), ("requests", limit.requests))
    for measure, number in counts:
        if number is not None:
            if isinstance(number, bool) or not 0 <= number <= _MOST_COUNT:
                problem = FieldProblem(f"{path}.{measure}", f"is from 0 to {_MOST_COUNT}")
                raise InvalidInput(problem.message, fields=[problem])
            bounds.append(Bound(measure, limit.window, number))
    if not bounds:
        raise InvalidInput("no limit", fields=[FieldProblem(path, "limits cost, tokens or requests")])
    return bounds


class Rules:
    """The budgets of one tenant, and its teams, as they are at a moment; both are replaced whole."""

    def __init__(self, rules: Sequence[Rule], teams: Mapping[str, str]) -> None:
        self.rules = tuple(rules)
        self.teams = teams
        self._tags = tuple(sorted({each.tag for each in rules if each.kind == "tag"}))

    def call(self, principal: str, route: str, tags: Mapping[str, str]) -> Call:
        """What these budgets see of a call."""
        seen = tuple((name, storable(tags[name])) for name in self._tags if name in tags) if self._tags else ()
        return Call(principal, self.teams.get(principal, ""), route, seen)


def storable(text: str) -> str:
    """The text as every store can hold it: without NUL and lone surrogates, at most 256 characters."""
    if text.isascii() and "\0" not in text:
        return text[:256]
    return text.replace("\0", "").encode("utf-8", "replace").decode()[:256]
