"""A console over fakes of every door, with data as a busy small system would have it, or with none."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from stanchion.app.console import ConsoleDoors, Session, SessionGate, routes
from stanchion.core.clock import Clock
from stanchion.core.context import Context, Rights, Trace
from stanchion.core.contract import Action
from stanchion.core.errors import Conflict, NotAuthenticated, NotFound
from stanchion.core.http.routes import CONTEXT
from stanchion.core.security.contract import AuditEvent, KeyInfo, PolicySetInfo
from stanchion.registry import File, Lineage, ModelSummary, ModelVersion, Promotion, Registry, Stage
from stanchion.serving import CacheStatus, RungStatus, ServedModel
from stanchion.training import Training
from tests.app.console import browsing
from tests.app.console.fake_batches import STATES, sample_job
from tests.app.console.fake_features import NOW, SERVICE, VIEWS, FakeFeatures
from tests.app.console.fake_gateway import FakeGateway
from tests.app.console.fake_reviews import FakeReviews
from tests.app.console.fake_runs import FakeEvents, FakePipelines
from tests.app.console.fake_security import FakeAudit, FakeKeys, FakePolicies
from tests.app.console.fake_serving import FakeServing, sample_report
from tests.app.console.fake_telemetry import MODEL, TRACE, FakeObservatory, sample_minutes, sample_rows, sample_spans

# Fixtures of the files that look through a browser.
browser, axe = browsing.browser, browsing.axe

KEY = "st_developmentX_secret"
CARD = """# Customer churn

Predicts whether a customer leaves **within 90 days**.

| Group | Rows | ROC AUC |
|---|---|---|
| month-to-month | 3,875 | 0.79 |
| two years | 1,695 | 0.84 |

## Limits
- Trained on one country; not for credit decisions.
- Read `probability` with its reliability curve.
"""


@dataclass(frozen=True)
class FixedClock(Clock):
    def now(self) -> datetime:
        return NOW

    def monotonic(self) -> float:
        return 0.0


@dataclass
class FakeSessions(SessionGate):
    ended: list[str] = field(default_factory=list)

    async def login(self, key: str) -> Session:
        if key != KEY:
            raise NotAuthenticated("the key is not valid")
        return Session("ss_token", "csrf-good")

    async def logout(self, token: str) -> None:
        self.ended.append(token)

    def csrf(self, request: Request) -> str:
        return "csrf-good"


def version(
    number: str, stage: Stage, *, model: str, days: float, card: str = CARD, auc: float = 0.846
) -> ModelVersion:
    bins = [{"predicted": 0.05 + 0.1 * i, "observed": 0.04 + 0.101 * i, "rows": 400 - 36 * i} for i in range(10)]
    return ModelVersion(
        model=model,
        version=number,
        stage=stage,
        aliases=("canary",) if stage == "staging" else (),
        format="onnx",
        input_schema={"type": "object", "properties": {"tenure_months": {"type": "integer", "minimum": 0}}},
        output_schema={"type": "object", "properties": {"probability": {"type": "number"}}},
        metrics={"roc_auc": auc, "brier": 0.1357, "log_loss": 0.4171, "test_rows": 1409.0},
        parameters={"learning_rate": 0.06, "max_leaf_nodes": 15},
        metadata={
            "reliability": bins,
            "bands": {"high_risk": 0.6},
            "features": {"service": SERVICE, "fingerprint": "9c1f22ab03de4471" if days < 20 else "5b00d1c2"},
        },
        lineage=Lineage("9f2c" * 16, 7043, "telco_customer_churn.csv", "a41c9e2", parent="2.1.2", seed=7),
        weights_sha256="51ab" * 16,
        card=card,
        files=(File("model.onnx", "51ab" * 16, 181_204), File("simple.onnx", "77aa" * 16, 4_811)),
        created_at=NOW - timedelta(days=days),
        created_by="key:9fKq2LmN4pRs",
        manifest_sha256="c0de" * 16,
        signature="sig",
        key_id="registry-2026",
    )


@dataclass
class FakeRegistry(Registry):
    of: dict[str, list[ModelVersion]]
    asked: list[Promotion] = field(default_factory=list)
    calls: list[tuple[object, ...]] = field(default_factory=list)

    async def models(self, ctx: Context, *, after: str = "", limit: int = 100) -> Sequence[ModelSummary]:
        found = [self._summary(name) for name in sorted(self.of) if name > after]
        return found[:limit]

    def _summary(self, name: str) -> ModelSummary:
        held = self.of[name]
        production = next((v.version for v in held if v.stage == "production"), None)
        return ModelSummary(name, len(held), held[0].version, production, held[0].created_at)

    async def versions(self, ctx: Context, model: str, *, limit: int = 100) -> Sequence[ModelVersion]:
        if model not in self.of:
            raise NotFound(f"no model {model!r}")
        return self.of[model][:limit]

    async def resolve(self, ctx: Context, reference: str) -> ModelVersion:
        return self.of[reference][0]

    async def promote(self, ctx: Context, model: str, version: str, *, to: Stage, evidence: str = "") -> Promotion:
        self.calls.append(("promote", model, version, to, evidence))
        if version == "9.9.9":
            raise Conflict("version 9.9.9 changed meanwhile")
        return Promotion("p9", model, version, to, evidence, "done" if not evidence else "pending", NOW, ctx.principal)

    async def rollback(self, ctx: Context, model: str, *, reason: str) -> ModelVersion:
        self.calls.append(("rollback", model, reason))
        return self.of[model][-1]

    async def alias(self, ctx: Context, model: str, alias: str, version: str | None) -> None:
        self.calls.append(("alias", model, alias, version))

    async def promotions(self, ctx: Context, model: str, *, limit: int = 50) -> Sequence[Promotion]:
        return [p for p in self.asked if p.model == model][:limit]


@dataclass
class FakeTraining(Training):
    names: tuple[str, ...] = ()

    async def declared(self, ctx: Context) -> Sequence[str]:
        return self.names


def _keys() -> list[KeyInfo]:
    def key(i: str, name: str, rights: Rights, days: float, **more: datetime | str) -> KeyInfo:
        made = KeyInfo(i, "acme", name, rights, NOW - timedelta(days=days), "key:development")
        return replace(made, **more)

    predictor = Rights(frozenset({"predictor"}))
    return [
        key("9fKq2LmN4pRs", "development", Rights(frozenset({"admin"})), 3, last_used_at=NOW - timedelta(seconds=8)),
        key("Bq8Z1xYw5vTu", "billing service", predictor, 81, expires_at=NOW + timedelta(days=9), last_used_at=NOW),
        key("Kd73nQpWz0aE", "web shop (old)", predictor, 95, replaced_by="Mx21kLmNb8Vc", expires_at=NOW + timedelta(1)),
        key("Mx21kLmNb8Vc", "web shop", Rights(scopes=frozenset({"serving:predict", "features:read"})), 1),
        key("Zz90aaBBccDD", "contractor", Rights(frozenset({"viewer"})), 40, revoked_at=NOW - timedelta(days=2)),
    ]


def _events(number: int) -> list[AuditEvent]:
    acts = [
        ("registry:promote", "Model::customer-churn-v2", "done", {"version": "2.1.3", "to": "production"}),
        ("keys:create", "Key::*", "done", {"name": "billing service"}),
        ("training:train", "Model::customer-churn-v2", "done", {"version": "2.1.3", "roc_auc": 0.846}),
        ("policies:write", "PolicySet::*", "denied", {}),
        ("keys:rotate", "Key::Kd73nQpWz0aE", "done", {"overlap_seconds": 86400}),
    ]
    made = []
    for i in range(number):
        action, resource, outcome, facts = acts[i % 5]
        at, who = NOW - timedelta(minutes=11 * i + 3), ("key:development", "key:web-shop")[i % 2]
        ids = (f"{i:024x}", f"{i:032x}")
        made.append(
            AuditEvent(number - 1 - i, at, "acme", who, action, "write", resource, outcome, *ids, facts, f"{i:064x}")
        )
    return made


def _rungs(*states: str) -> tuple[RungStatus, ...]:
    names, kinds = ("primary", "simple", "rule", "default"), ("onnx", "onnx", "rule", "default")
    return tuple(
        RungStatus(names[i], kinds[i], s, {"closed": 1.0, "open": 0.0}.get(s, 0.25), (48_210, 1_204, 31, 0)[i], i * 3)
        for i, s in enumerate(states)
    )


@dataclass
class World:
    """The fakes and the person who looks; `app()` is the console over them."""

    doors: ConsoleDoors
    registry: FakeRegistry
    keys: FakeKeys
    policies: FakePolicies
    audit: FakeAudit
    observatory: FakeObservatory
    sessions: FakeSessions
    ctx: Context | None

    def app(self) -> ASGIApp:
        inner = Starlette(routes=list(routes(self.doors)))

        async def door(scope: Scope, receive: Receive, send: Send) -> None:
            if self.ctx is not None and scope["type"] == "http":
                scope[CONTEXT] = replace(self.ctx, trace=Trace(TRACE, "00f067aa0ba902b7"))
            await inner(scope, receive, send)

        return door


@pytest.fixture
def make_world() -> Callable[..., World]:
    """`make_world()`, or with `empty=True`; `roles` and `denied` say who looks and what the gate refuses."""

    def make(
        *, empty: bool = False, model: str = MODEL, card: str = CARD, denied: Sequence[str] = (), **doors: object
    ) -> World:
        history = [
            version("2.2.0", "staging", model=model, days=0.1, card=card, auc=0.851),
            version("2.1.3", "production", model=model, days=6, card=card),
            version("2.1.2", "archived", model=model, days=31, card=card, auc=0.839),
            version("1.0.0", "archived", model=model, days=90, card=card, auc=0.812),
        ]
        evidence = "Hold-out ROC AUC .846 against .839, Brier .136 against .141 on the same 1,409 rows."
        asked = [
            Promotion("p2", model, "2.2.0", "production", evidence, "pending", NOW - timedelta(hours=2), "key:ada"),
            Promotion(
                "p1", model, "2.1.3", "production", evidence, "done", NOW - timedelta(days=5), "key:ada", NOW, "key:bo"
            ),
        ]
        fraud = [version("0.3.0", "dev", model="fraud-screen", days=2)]
        registry = FakeRegistry({} if empty else {model: history, "fraud-screen": fraud}, [] if empty else asked)
        served = [
            ServedModel(
                model,
                "2.1.3",
                "production",
                {},
                {},
                _rungs("closed", "half_open", "closed", "closed"),
                "2026-11-20T09:12:03.123456+00:00",
                cache=CacheStatus(1_204, 31, 12, 3_310, 2_871, 0.2736),
            ),
            ServedModel("fraud-screen", "0.3.0", "dev", {}, {}, _rungs("open", "closed"), None),
        ]
        answered = {
            (model, "2.1.3", "primary"): 4810,
            (model, "2.1.3", "simple"): 212,
            ("fraud-screen", "0.3.0", "rule"): 96,
        }
        observatory = FakeObservatory(
            [] if empty else sample_rows(130, model),
            [] if empty else sample_minutes(240),
            {} if empty else answered,
            [] if empty else sample_spans(),
        )
        keys, audit = FakeKeys([] if empty else _keys()), FakeAudit([] if empty else _events(120))
        text = 'forbid (principal, action == Action::"registry:promote", resource)\nwhen { context.test };\n'
        own = PolicySetInfo("acme", 0, "", None, "") if empty else PolicySetInfo("acme", 3, text, NOW, "key:ada")
        policies, sessions = FakePolicies(own), FakeSessions()

        def permits(ctx: Context, action: Action, resource: str) -> bool:
            return action.name not in denied

        made = ConsoleDoors(
            registry=registry,
            serving=FakeServing(
                [] if empty else served,
                None if empty else sample_report(model),
                jobs=[] if empty else [sample_job(model, state) for state in STATES],
            ),
            training=FakeTraining((model,)),
            features=FakeFeatures({} if empty else VIEWS),
            observatory=observatory,
            keys=keys,
            policies=policies,
            audit=audit,
            sessions=sessions,
            system_name="churn",
            placement="local, one process",
            version="0.1.0",
            storage="SQLite",
            development_key=".stanchion/dev.key",
            permits=permits,
            clock=FixedClock(),
            gateway=FakeGateway(empty=empty),
            reviews=FakeReviews(empty=empty),
            pipelines=FakePipelines(empty=empty),
            events=FakeEvents(empty=empty),
        )
        ctx = Context(tenant="acme", principal="key:development", rights=Rights(roles=frozenset({"admin"})))
        return World(replace(made, **doors), registry, keys, policies, audit, observatory, sessions, ctx)

    return make
