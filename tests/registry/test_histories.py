"""Any sequence of changes leaves the registry as a plain model of it says."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, InvalidInput, NotAllowed, NotFound, StanchionError
from stanchion.registry.service import RegistryService
from stanchion.testing.registry_cases import ADA, BOB, FILES, STRANGER, draft

T = TypeVar("T")
EXAMPLES = [12, pytest.param(200, marks=pytest.mark.soak)]
_people = st.sampled_from([ADA, BOB])
_numbers = st.integers(0, 9)
_STAGES = ["dev", "staging", "production", "archived"]
_STEPS = {"dev": ["staging", "archived"], "staging": ["dev", "production", "archived"], "archived": ["dev"]}


class Histories(RuleBasedStateMachine):
    """One model; versions are told by their position in `known`."""

    registry: RegistryService
    runner: asyncio.Runner

    def __init__(self) -> None:
        super().__init__()
        self.known: list[tuple[str, str, str, str]] = []  # version, field, weights, note
        self.stage: list[str] = []
        self.tenures: list[int] = []
        self.pending: dict[int, str] = {}
        self.aliases: dict[str, int] = {}

    def run_(self, call: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(call)

    def expect(self, error: type[StanchionError], call: Coroutine[Any, Any, object]) -> None:
        with pytest.raises(error):
            self.run_(call)

    def version(self, position: int) -> str:
        return self.known[position][0]

    def production(self) -> int | None:
        return self.stage.index("production") if "production" in self.stage else None

    @rule(field=st.sampled_from("ab"), weights=st.sampled_from(["w1", "w2", "w3"]), note=st.sampled_from("xyz"))
    def register(self, field: str, weights: str, note: str) -> None:
        made = self.run_(self.registry.register(ADA, draft(field=field, weights=weights, note=note), FILES))
        for version, *package in self.known:
            if package == [field, weights, note]:
                assert made.version == version
                return
        if not self.known:
            wanted = "1.0.0"
        else:
            newest, old_field, old_weights, _ = self.known[-1]
            major, minor, patch = map(int, newest.split("."))
            wanted = f"{major}.{minor}.{patch + 1}"
            if old_weights != weights:
                wanted = f"{major}.{minor + 1}.0"
            if old_field != field:
                wanted = f"{major + 1}.0.0"
        assert (made.version, made.stage) == (wanted, "dev")
        self.known.append((wanted, field, weights, note))
        self.stage.append("dev")

    @precondition(lambda self: self.known)
    @rule(number=_numbers, to=st.sampled_from(_STAGES), who=_people)
    def step(self, number: int, to: str, who: Context) -> None:
        self.promote(number % len(self.known), to, who)

    def promote(self, position: int, to: str, who: Context) -> None:
        call = self.registry.promote(who, "churn", self.version(position), to=to, evidence="good")  # type: ignore[arg-type]  # drawn from the stages
        if to not in _STEPS.get(self.stage[position], []):
            self.expect(Conflict, call)
        elif to != "production":
            assert self.run_(call).status == "done"
            self.stage[position] = to
            self.pending.pop(position, None)
        elif position not in self.pending:
            assert self.run_(call).status == "pending"
            self.pending[position] = who.principal
        elif self.pending[position] == who.principal:
            self.expect(NotAllowed, call)
        else:
            former = self.production()
            assert self.run_(call).replaces == (None if former is None else self.version(former))
            self.enter(position)
            self.tenures.append(position)

    @precondition(lambda self: any(stage in ("dev", "staging") for stage in self.stage))
    @rule(number=_numbers, archive=st.booleans())
    def bring_into_production(self, number: int, archive: bool) -> None:
        """What single steps seldom reach: a version all the way up, and the former one out of use."""
        usable = [position for position, stage in enumerate(self.stage) if stage in ("dev", "staging")]
        position, former = usable[number % len(usable)], self.production()
        if self.stage[position] == "dev":
            self.promote(position, "staging", ADA)
        for person in (ADA, BOB) if position not in self.pending else (ADA, BOB, ADA):
            if self.stage[position] != "production":
                self.promote(position, "production", person)
        assert self.stage[position] == "production"
        if archive and former is not None:
            self.promote(former, "archived", ADA)

    @precondition(lambda self: "staging" in self.stage)
    @rule(number=_numbers, who=_people)
    def ask_or_decide(self, number: int, who: Context) -> None:
        staged = [position for position, stage in enumerate(self.stage) if stage == "staging"]
        self.promote(staged[number % len(staged)], "production", who)

    def enter(self, position: int) -> None:
        if (former := self.production()) is not None:
            self.stage[former] = "staging"
        self.stage[position] = "production"
        self.pending.clear()

    @rule()
    def roll_back(self) -> None:
        call = self.registry.rollback(BOB, "churn", reason="bad")
        present = self.production()
        usable = [i for i, p in enumerate(self.tenures) if p != present and self.stage[p] != "archived"]
        if not self.known:
            self.expect(NotFound, call)
        elif present is None or not usable:
            self.expect(Conflict, call)
        else:
            del self.tenures[usable[-1] + 1 :]
            assert self.run_(call).version == self.version(self.tenures[-1])
            self.enter(self.tenures[-1])

    @rule(name=st.sampled_from(["mine", "theirs", "latest"]), number=_numbers | st.none())
    def alias(self, name: str, number: int | None) -> None:
        position = None if number is None or not self.known else number % len(self.known)
        version = None if position is None else self.version(position)
        call = self.registry.alias(ADA, "churn", name, version)
        if name == "latest":
            self.expect(InvalidInput, call)
        elif position is not None:
            self.run_(call)
            self.aliases[name] = position
        elif name in self.aliases:
            self.run_(call)
            del self.aliases[name]
        else:
            self.expect(NotFound, call)

    @rule()
    def start_again(self) -> None:
        """A new process over the same stores: nothing lives in memory only."""
        self.registry = self.again()

    @precondition(lambda self: self.known)
    @invariant()
    def is_as_the_model_says(self) -> None:
        found = self.run_(self.registry.versions(ADA, "churn"))
        assert [v.version for v in reversed(found)] == [version for version, *_ in self.known]
        assert [v.stage for v in reversed(found)] == self.stage
        assert self.stage.count("production") <= 1
        numbers = [tuple(map(int, v.version.split("."))) for v in reversed(found)]
        assert numbers == sorted(set(numbers))
        present = self.production()
        usable = [i for i, stage in enumerate(self.stage) if stage != "archived"]
        if present is not None or usable:
            wanted = self.version(usable[-1] if present is None else present)
            assert self.run_(self.registry.resolve(ADA, "churn")).version == wanted
        for name, position in self.aliases.items():
            assert self.run_(self.registry.resolve(ADA, f"churn@{name}")).version == self.version(position)
        pending = [p for p in self.run_(self.registry.promotions(ADA, "churn", limit=100)) if p.status == "pending"]
        assert {p.version: p.requested_by for p in pending} == {self.version(p): w for p, w in self.pending.items()}

    @invariant()
    def another_tenant_sees_nothing(self) -> None:
        assert self.run_(self.registry.models(STRANGER)) == []

    def again(self) -> RegistryService:
        raise NotImplementedError


@pytest.mark.parametrize("examples", EXAMPLES)
def test_any_history_is_as_a_plain_model_says(make_bench: Any, examples: int) -> None:
    with asyncio.Runner() as runner:

        class Fresh(Histories):
            def __init__(self) -> None:
                super().__init__()
                self.runner = runner
                self.bench = self.run_(make_bench())
                self.registry = self.again()

            def again(self) -> RegistryService:
                service: RegistryService = self.bench.registry()
                return service

            def teardown(self) -> None:
                self.run_(self.bench.close())

        run_state_machine_as_test(
            Fresh,
            settings=settings(
                max_examples=examples,
                stateful_step_count=30,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
