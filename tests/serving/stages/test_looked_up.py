"""Features are looked up beside the request, and never old in silence."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel, Field

from stanchion import System
from stanchion.core.clock import SystemClock
from stanchion.core.context import Context
from stanchion.core.errors import Misconfigured, Unavailable
from stanchion.features import Features, Row, Service, Vector
from stanchion.serving import Cache, Lookup, Options
from stanchion.system import Reads
from stanchion.testing.clock import FakeClock


class Spending(BaseModel):
    customer_id: str
    spent: float
    orders: int | None = None


class Purchase(BaseModel):
    customer: str
    amount: float = Field(ge=0)
    spent: float
    orders: int | None = None


class Risk(BaseModel):
    probability: float


ENTITIES = {"customer_id": "customer"}


def system(**options: Any) -> System:
    app = System("shop")
    view = app.features("spending", Spending, entity="customer_id", ttl=timedelta(hours=1))
    service = app.feature_service("customer", [view])
    reads = {name: options.pop(name) for name in ("stale", "unknown", "defaults", "logged") if name in options}

    @app.model("risk", features=Reads(service, entities=ENTITIES, **reads), default=Risk(probability=0.5), **options)
    async def risk(items: Sequence[Purchase]) -> list[Risk]:
        return [Risk(probability=min(1.0, item.amount / (item.spent or 1.0))) for item in items]

    return app


async def push(run: Any, key: str, spent: float, clock: Any) -> None:
    row = Row(key, {"customer_id": key, "spent": spent, "orders": 3}, clock.now())
    await run.offline.door(Features).push(run.ctx, "spending", [row])


async def test_the_features_of_the_entity_stand_beside_the_request(start: Any) -> None:
    clock = FakeClock()
    async with start(system(), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        answer = await run.serving.predict(run.ctx, "risk", [{"customer": "ada", "amount": 50.0}])
        assert (answer.served_by, answer.items[0].values) == ("primary", {"probability": 0.25})
        served = await run.serving.describe(run.ctx, "risk")
        assert set(served.input_schema["properties"]) == {"customer", "amount"}
        assert served.input_schema["required"] == ["customer", "amount"]
        assert served.features.service == "customer"
        assert len(served.features.running) == 16


async def test_a_caller_may_not_give_a_feature_itself(start: Any) -> None:
    async with start(system()) as run:
        answer = await run.predict("risk", {"customer": "ada", "amount": 1.0, "spent": 1e9})
        assert answer.status_code == 422
        assert answer.json()["errors"][0]["path"] == "$.features.spent"


async def test_an_unknown_entity_is_refused_with_the_place_of_its_key(start: Any) -> None:
    async with start(system()) as run:
        answer = await run.predict("risk", {"customer": "nobody", "amount": 1.0})
        assert answer.status_code == 422
        [problem] = answer.json()["errors"]
        assert problem["path"] == "$.features.customer"
        assert "unknown" in problem["message"]


async def test_a_stale_value_is_never_used(start: Any) -> None:
    clock = FakeClock()
    async with start(system(stale="next_rung"), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        clock.advance(3601)
        answer = await run.serving.predict(run.ctx, "risk", [{"customer": "ada", "amount": 50.0}])
        assert (answer.served_by, answer.tried) == ("default", ("primary",))
        rungs = (await run.serving.describe(run.ctx, "risk")).rungs
        assert (rungs[0].breaker, rungs[0].failed) == ("closed", 0)


async def test_declared_defaults_stand_in_for_an_unknown_entity(start: Any) -> None:
    clock = FakeClock()
    app = system(unknown="default", stale="error", defaults={"spent": 100.0})
    async with start(app, clock=clock) as run:
        answer = await run.serving.predict(run.ctx, "risk", [{"customer": "nobody", "amount": 50.0}])
        assert (answer.served_by, answer.items[0].values) == ("primary", {"probability": 0.5})


async def test_each_instance_of_a_call_has_its_own_fate(start: Any) -> None:
    clock = FakeClock()
    async with start(system(unknown="next_rung"), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        given = [{"customer": "ada", "amount": 20.0}, {"customer": "nobody", "amount": 1.0}, {"customer": "ada"}]
        body = {"model_id": "risk", "instances": given}
        answer = (await run.post("/v1/predictions", body)).json()
        assert [each.get("probability") for each in answer["predictions"]] == [0.1, 0.5, None]
        assert [each.get("served_by") for each in answer["predictions"]] == [None, "default", None]
        assert answer["predictions"][2]["error"]["errors"][0]["path"] == "$.instances[2].amount"


async def test_an_entity_key_that_cannot_be_one_is_refused_alone(start: Any) -> None:
    clock = FakeClock()
    async with start(system(), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        given = [{"customer": "x" * 2000, "amount": 1.0}, {"customer": "ada", "amount": 20.0}]
        answer = await run.serving.predict(run.ctx, "risk", given)
        assert answer.items[0].error is not None
        assert answer.items[0].error["errors"][0]["path"] == "$.instances[0].customer"
        assert answer.items[1].values == {"probability": 0.1}


async def test_used_vectors_are_told_to_the_feature_store(start: Any) -> None:
    clock = FakeClock()
    async with start(system(), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        seen: list[Any] = []
        service = run.offline.house._services["features"]
        kept = service.log

        async def log(ctx: Context, name: str, logged: Any) -> None:
            seen.append((name, logged))
            await kept(ctx, name, logged)

        service.log = log
        enricher = run.offline.house._services["serving"]._shelf.ready("test", "risk").declared.enricher
        enricher._logger._features = service
        ctx = run.ctx
        await run.serving.predict(ctx, "risk", [{"customer": "ada", "amount": 20.0}])
        async with asyncio.timeout(60):
            while not seen:
                await asyncio.sleep(0)
        [(name, [logged])] = seen
        assert (name, logged.request_id, logged.entities) == ("customer", ctx.request_id, {"customer_id": "ada"})
        assert logged.values == {"spent": 200.0, "orders": 3}


async def test_a_new_value_is_seen_through_the_cache(start: Any) -> None:
    clock = SystemClock()
    async with start(system(cache=Cache(ttl=600)), clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        asked = [{"customer": "ada", "amount": 50.0}]
        async with asyncio.timeout(60):
            while (await run.serving.predict(run.ctx, "risk", asked)).served_by != "cache":
                await asyncio.sleep(0.01)
        await push(run, "ada", 100.0, clock)
        async with asyncio.timeout(60):
            while (await run.serving.predict(run.ctx, "risk", asked)).items[0].values["probability"] != 0.5:
                await asyncio.sleep(0.01)


def test_an_entity_without_a_field_is_misconfigured() -> None:
    app = System("shop")
    view = app.features("spending", Spending, entity="customer_id", ttl=timedelta(hours=1))
    service = app.feature_service("customer", [view])
    with pytest.raises(Misconfigured, match="customer_id"):

        @app.model("risk", features=service)
        async def risk(items: Sequence[Purchase]) -> list[Risk]:
            return []


class Store:
    """A feature store that serves one service, with the fingerprint and values it is told."""

    def __init__(self) -> None:
        self.fingerprint = "f" * 16
        self.values: dict[str, Mapping[str, Any]] = {}
        self.away = False

    async def services(self, ctx: Context) -> Sequence[Service]:
        named = Service(
            name="customer",
            fingerprint=self.fingerprint,
            views=["v"],
            on_demand=[],
            entities=["customer_id"],
            request=[],
            fields={"score": "number"},
            origins={"score": "v"},
            reads={},
        )
        return [named]

    async def vectors(self, ctx: Context, service: str, entities: Any, *, request: Any = ()) -> Sequence[Vector]:
        if self.away:
            raise Unavailable("the feature store is away")
        found = [self.values.get(each["customer_id"]) for each in entities]
        return [
            Vector(values or {"score": None}, {"v": "present" if values else "unknown"}, {"v": None})
            for values in found
        ]

    async def log(self, ctx: Context, service: str, logged: Any) -> None:
        return


LOOKUP = Lookup("customer", {"customer_id": "customer_id"}, fields=("score",), unknown="next_rung")


@pytest.fixture
def store() -> Store:
    return Store()


async def registered(bench: Any, store: Store, pinned: str) -> Any:
    """The churn model, whose column `score` is a looked-up feature."""
    about = {"features": {"service": "customer", "fingerprint": pinned, "fields": ["score"]}}
    await bench.register("a", 0.7, about=about, without=("score",))
    service = bench.serving(bench.spec(options=Options(features=LOOKUP), rule=None), features=store)
    await service.start()
    return service


async def test_a_graph_reads_its_features_in_their_columns(bench: Any, ctx: Any, customer: Any, store: Store) -> None:
    store.values["12345"] = {"score": 0.25}
    service = await registered(bench, store, store.fingerprint)
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.version) == ("primary", "1.0.0")
    assert bench.runtime.graphs["a"].rows == [[12, 89.99, 0.0, True, 0.25]]
    status = (await service.describe(ctx, "churn")).features
    assert (status.pinned, status.running) == (store.fingerprint, store.fingerprint)
    await service.stop()


async def test_a_graph_is_not_asked_about_an_entity_without_features(
    bench: Any, ctx: Any, customer: Any, store: Store
) -> None:
    service = await registered(bench, store, store.fingerprint)
    answer = await service.predict(ctx, "churn", [customer])
    assert (answer.served_by, answer.tried) == ("default", ("primary", "simple"))
    store.values["12345"] = {"score": 0.25}
    store.away = True
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    store.away = False
    assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    await service.stop()


async def test_other_definitions_than_the_versions_are_a_fault_and_no_answer(
    bench: Any, ctx: Any, customer: Any, store: Store
) -> None:
    store.values["12345"] = {"score": 0.25}
    service = await registered(bench, store, "0" * 16)
    served = await service.describe(ctx, "churn")
    assert served.version is None
    assert "fingerprint 0000000000000000" in str(served.fault)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    await service.stop()


async def test_definitions_that_change_under_a_version_stop_its_graphs(
    bench: Any, ctx: Any, customer: Any, store: Store
) -> None:
    store.values["12345"] = {"score": 0.25}
    service = await registered(bench, store, store.fingerprint)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "primary"
    store.fingerprint = "e" * 16
    bench.clock.advance(60)
    assert (await service.predict(ctx, "churn", [customer])).served_by == "default"
    assert (await service.describe(ctx, "churn")).features.running == "e" * 16
    await service.stop()


class Basket(BaseModel):
    amount: float = Field(ge=0)


class Share(BaseModel):
    share: float | None


class Asked(BaseModel):
    customer_id: str
    amount: float = Field(ge=0)
    spent: float
    share: float


async def test_transforms_at_request_time_take_the_requests_own_fields(start: Any) -> None:
    app = System("shop")
    view = app.features("spending", Spending, entity="customer_id", ttl=timedelta(hours=1))

    @app.on_demand("share", views=[view], request=Basket)
    def share(inputs: Mapping[str, Any]) -> Share:
        return Share(share=inputs["amount"] / inputs["spent"])

    service = app.feature_service("customer", [view], on_demand=[share])

    @app.model("risk", features=service)
    async def risk(items: Sequence[Asked]) -> list[Risk]:
        return [Risk(probability=min(1.0, item.share)) for item in items]

    clock = FakeClock()
    async with start(app, clock=clock) as run:
        await push(run, "ada", 200.0, clock)
        answer = await run.predict("risk", {"customer_id": "ada", "amount": 50.0}, explain="timing")
        assert answer.json()["probability"] == 0.25
        assert set(answer.json()["timing_ms"]) == {"admit", "features", "ladder"}
        served = (await run.client.get("/v1/serving/models/risk")).json()
        assert set(served["input_schema"]["properties"]) == {"customer_id", "amount"}
