"""A gateway for the console's tests: two routes, budgets in every state, a prompt under test, scripted answers."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotFound, Unavailable
from stanchion.gateway import (
    Account,
    Alone,
    Ask,
    BudgetSpec,
    BudgetState,
    Calibration,
    CascadeReport,
    Gateway,
    Grouping,
    KeptReport,
    LanguageModel,
    Level,
    Limit,
    Message,
    Piece,
    Plan,
    PlannedRung,
    Point,
    Prompt,
    PromptView,
    Reply,
    RouteChange,
    RouteSpec,
    RouteVersion,
    RouteView,
    RungView,
    UpstreamView,
    Usage,
    UsageLine,
    Variable,
)
from tests.app.console.fake_features import NOW

MODELS = {"small": "first", "large": "first", "deep": "second", "quoter": "here"}
ACCOUNT = Account("first", "gpt-4o-mini", "primary", usage=Usage(9, 19), cost=12_700_000)
SAID = "At nine <b>sharp</b>."


def _rung(model: str, place: int = 0, *, troubled: bool = False) -> RungView:
    breaker, share = ("open", 0) if troubled else ("closed", 100)
    known = model != "quoter"
    times = (412.5 + place, 96.0) if known else (None, None)
    return RungView(model, MODELS[model], breaker, share, 0.0, 4_810 * known, 12 * known, *times)  # type: ignore[arg-type]  # a state of a breaker


@dataclass
class FakeGateway(Gateway):
    """`broken` models fail; `asked` tells what was changed or called."""

    empty: bool = False
    reports: bool = True
    broken: frozenset[str] = frozenset()
    said: str = SAID
    asked: list[tuple[object, ...]] = field(default_factory=list)
    put: dict[str, tuple[RouteSpec, int]] = field(default_factory=dict)

    def _specs(self) -> dict[str, tuple[RouteSpec, int]]:
        if self.empty:
            return {}
        weighted = {"small": 3.0, "large": 1.0}
        reasoning = RouteSpec(name="reasoning", primary="deep", fallbacks=("large",), max_latency_ms=5_000)
        answers = RouteSpec(
            name="answers",
            primary="small",
            fallbacks=("large", "quoter"),
            max_cost="0.01",
            weights=weighted,
            conditions={"large": "tokens > 500"},
            cache_seconds=60,
        )
        return {"answers": (answers, 3), "reasoning": (reasoning, 0), **self.put}

    async def models(self, ctx: Context) -> Sequence[LanguageModel]:
        if self.empty:
            return ()
        single = [LanguageModel(n, ("chat",), at, f"{n}-2026", at == "here") for n, at in MODELS.items()]
        names = [f"route:{name}" for name in self._specs()] + ["cascade:cheap-first"]
        return [*single, *(LanguageModel(name, ("chat",)) for name in names)]

    async def routes(self, ctx: Context) -> Sequence[RouteView]:
        return [
            RouteView(spec, version, tuple(_rung(m, n, troubled=m == "deep") for n, m in enumerate(spec.models)))
            for spec, version in self._specs().values()
        ]

    async def put_route(self, ctx: Context, name: str, spec: RouteSpec, *, version: int) -> RouteView:
        self.asked.append(("put_route", spec, version))
        if version != self._specs().get(name, (spec, 0))[1]:
            raise Conflict(f"the route {name!r} is at another version")
        if unknown := set(spec.models) - set(MODELS):
            raise InvalidInput(f"the route {name} asks the unknown model {unknown.pop()!r}")
        self.put[name] = spec, version + 1
        return RouteView(spec, version + 1, tuple(map(_rung, spec.models)))

    async def drop_route(self, ctx: Context, name: str, *, version: int) -> None:
        self.asked.append(("drop_route", name, version))

    async def route_versions(
        self, ctx: Context, name: str, *, limit: int = 100, before: int | None = None
    ) -> Sequence[RouteVersion]:
        spec, version = self._specs()[name]
        if not version:
            return [RouteVersion(0, spec, None, "", True, (), ())]
        former = replace(spec, primary="quoter", fallbacks=("large",), weights={}, max_cost=None)
        back = (RouteChange("primary", "small", "quoter"), RouteChange("max_cost", "0.01", ""))
        ahead = (RouteChange("primary", "quoter", "small"), RouteChange("max_cost", "", "0.01"))
        gone = replace(former, primary="former")
        return [
            RouteVersion(version, spec, NOW, "key:ada", True, ahead, ()),
            RouteVersion(2, former, NOW - timedelta(days=1), "operator:ben", False, (), back),
            RouteVersion(1, gone, NOW - timedelta(days=2), "key:ada", False, (), back, "no model 'former' is declared"),
            RouteVersion(0, former, None, "", False, (), back),
        ]

    async def restore_route(self, ctx: Context, name: str, restored: int, *, version: int) -> RouteView:
        self.asked.append(("restore_route", name, restored, version))
        spec, present = self._specs()[name]
        if version != present:
            raise Conflict(f"the route {name!r} is at another version")
        return RouteView(spec, version + 1 if restored else 0, tuple(map(_rung, spec.models)))

    async def cascade_reports(self, ctx: Context) -> Sequence[KeptReport]:
        if self.empty or not self.reports:
            return ()
        front = [
            Point(0.9, (0.1,), 22_000_000.0, 0.78, 0.71, (0.9, 0.1)),
            Point(0.6, (0.55,), 61_000_000.0, 0.93, 0.89, (0.6, 0.4)),
            Point(0.2, (0.8,), 118_000_000.0, 0.96, 0.92, (0.2, 0.8)),
        ]
        alone = [Alone("small", 9_000_000.0, 0.70, 0.64), Alone("large", 140_000_000.0, 0.95, 0.91)]
        found = Calibration((0.55,), 0.88, 0.89, 0.95, 200)
        report = CascadeReport(alone, front, found, front[1], 0.56, 200)
        return [KeptReport("cheap-first", NOW, "operator:ada", report), KeptReport("former", NOW, "key:ada", report)]

    async def plan(self, ctx: Context, ask: Ask, *, version: int | None = None) -> Plan:
        name = json.loads(ask.body)["model"]
        rungs = (
            PlannedRung("small", "first", "", 21_000_000, True),
            PlannedRung("large", "first", "its condition does not hold", None, False),
            PlannedRung("deep", "second", "the call could cost more than the route's max_cost", 61_000_000_000, False),
        )
        return Plan(name.removeprefix("route:"), 3 if version is None else version, len(ask.body) // 4, 1_000, rungs)

    async def complete(self, ctx: Context, ask: Ask) -> Reply:
        model = json.loads(ask.body)["model"]
        self.asked.append(("complete", model, dict(ask.tags)))
        if model in self.broken:
            raise Unavailable(f"{model} failed: <b>reset</b>")
        body = {"choices": [{"message": {"role": "assistant", "content": self.said}}]}
        return Reply(json.dumps(body).encode(), ACCOUNT)

    async def stream(self, ctx: Context, ask: Ask) -> AsyncIterator[Piece]:
        model = json.loads(ask.body)["model"]
        self.asked.append(("stream", model, dict(ask.tags)))
        yield Piece(b"", opening=ACCOUNT)
        for word in self.said.split(" "):
            event = json.dumps({"choices": [{"delta": {"content": f"{word} "}}]}).encode()
            yield Piece(b"data: " + event[:20])
            yield Piece(event[20:] + b"\n\n")
        if model in self.broken:
            raise Unavailable(f"{model} broke off")
        yield Piece(b"data: [DONE]\n\n", account=ACCOUNT)

    async def upstreams(self, ctx: Context) -> Sequence[UpstreamView]:
        states = {"first": (False, True), "second": (False, False), "here": (True, None)}
        return [
            UpstreamView(
                name, "openai", name == "here", "eu", (), drained, healthy, "" if healthy else "it answered 503"
            )
            for name, (drained, healthy) in states.items()
        ]

    async def drain(self, ctx: Context, name: str, *, drained: bool) -> UpstreamView:
        self.asked.append(("drain", name, drained))
        return UpstreamView(name, "openai", False, "eu", (), drained)

    # Money

    async def budgets(self, ctx: Context) -> Sequence[BudgetState]:
        if self.empty:
            return ()
        ends = NOW + timedelta(hours=3)
        day = Limit("day", cost="5")
        levels = (
            Level("key:9fKq2LmN4pRs", "cost", "day", 5 * 10**12, 4_200_000_000_000, 150_000_000_000, ends),
            Level("key:Bq8Z1xYw5vTu", "cost", "day", 5 * 10**12, 5 * 10**12, 0, ends),
            Level("user:ada", "concurrency", None, 8, 1, 0, None),
        )
        legal = BudgetSpec("legal", "team:legal", (Limit("minute", requests=600),))
        quiet = Level("team:legal", "requests", "minute", 600, 12, 0, ends)
        return [
            BudgetState(BudgetSpec("everybody", "key:*", (day,), 8), levels=levels),
            BudgetState(legal, 2, False, NOW, "key:ada", (quiet,)),
        ]

    async def budget(self, ctx: Context, name: str) -> BudgetState:
        for state in await self.budgets(ctx):
            if state.spec.name == name:
                return state
        raise NotFound(f"no budget {name!r}")

    async def put_budget(self, ctx: Context, spec: BudgetSpec, *, expected: int | None = None) -> BudgetState:
        self.asked.append(("put_budget", spec, expected))
        if spec.subject == "nobody":
            raise InvalidInput("the budget is not valid")
        return BudgetState(spec, (expected or 0) + 1, False)

    async def delete_budget(self, ctx: Context, name: str, *, expected: int | None = None) -> None:
        self.asked.append(("delete_budget", name, expected))

    async def usage(
        self,
        ctx: Context,
        *,
        start: date | None = None,
        end: date | None = None,
        by: Sequence[Grouping] = ("day",),
        tag: str = "",
    ) -> Sequence[UsageLine]:
        if self.empty:
            return ()
        if "day" in by:
            days = [(NOW.date() - timedelta(days=n)).isoformat() for n in range(20)]
            return [
                UsageLine({"day": day, "provider": at}, 40, 0, Usage(900, 400), cost)
                for n, day in enumerate(days)
                for at, cost in (("first", 10**10 * (n + 1)), ("second", 4 * 10**10))
            ]
        return [
            UsageLine(
                {"provider": "first", "model": "small-2026", "outcome": "ok"}, 960, 0, Usage(9_000, 4_000), 10**10
            ),
            UsageLine({"provider": "first", "model": "small-2026", "outcome": "throttled"}, 40, 0, Usage(), 0),
            UsageLine({"provider": "here", "model": "quoter-2026", "outcome": "ok"}, 7, 7, Usage(70, 30), 0),
        ]

    # Prompts

    async def prompts(self, ctx: Context) -> Sequence[PromptView]:
        labels: Mapping[str, Mapping[int, float]] = {"production": {1: 90.0, 2: 10.0}, "staging": {2: 1.0}}
        return [] if self.empty else [PromptView("support", 2, labels)]

    async def prompt(self, ctx: Context, name: str, version: int | None = None) -> Prompt:
        if self.empty or version not in (None, 1, 2):
            raise NotFound(f"there is no prompt {name}")
        found = Prompt(
            name,
            2,
            [Message("system", "You answer for {{shop}}, briefly."), Message("user", "{{question}}")],
            [Variable("shop"), Variable("question"), Variable("most", "integer", 5, required=False)],
            "shorter",
            "key:ada",
            NOW,
        )
        if version != 1:
            return found
        return replace(found, version=1, messages=[Message("system", "You answer for {{shop}}."), *found.messages[1:]])

    async def add_prompt(
        self,
        ctx: Context,
        name: str,
        messages: Sequence[Message],
        *,
        variables: Sequence[Variable] = (),
        note: str = "",
        after: int | None = None,
    ) -> Prompt:
        self.asked.append(("add_prompt", name, tuple(messages), tuple(variables), note, after))
        if "unfit" in note:
            raise InvalidInput("the gaps and the variables of the prompt do not fit together")
        return Prompt(name, (after or 0) + 1, messages, variables, note, ctx.principal, NOW)

    async def label_prompt(self, ctx: Context, name: str, label: str, weights: Mapping[int, float]) -> PromptView:
        self.asked.append(("label_prompt", name, label, dict(weights)))
        return PromptView(name, 2, {label: weights} if weights else {})
