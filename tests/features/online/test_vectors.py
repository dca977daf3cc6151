"""A service's vectors: read in one go, judged view by view, completed by transforms, checked by path."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest

from stanchion import System
from stanchion.core.errors import InvalidInput, Misconfigured, NotFound, Unavailable
from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.features import OnDemandSpec, Row, ServiceSpec, ViewSpec
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA
from tests.features.shop import HOUR, Order, Profile, Scores, shop


class Counting(MemoryKeyValue):
    """Counts how often it is asked."""

    asked = 0

    async def get(self, keys: Sequence[str]) -> list[bytes | None]:
        self.asked += 1
        return await super().get(keys)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def store(clock: FakeClock) -> Counting:
    return Counting(clock=clock)


@pytest.fixture
async def features(store: Counting, clock: FakeClock) -> FeatureService:
    made = FeatureService(shop().all(), store=store, clock=clock)
    profile = {"age": 41, "city": "Oslo", "joined": "2025-12-01T00:00:00Z"}
    await made.push(ADA, "profile", [Row("ann", profile, clock.now()), Row("bob", {"age": 20}, clock.now() - 2 * HOUR)])
    await made.push(ADA, "place", [Row("kiosk", {"merchant": "kiosk", "risk": 0.5}, clock.now() - 3 * HOUR)])
    return made


ANN, BOB = {"customer": "ann", "merchant": "kiosk"}, {"customer": "bob", "merchant": "kiosk"}
ORDER: Mapping[str, Any] = {"amount": 10, "placed": "2025-12-31T12:00:00Z"}


async def test_a_vector_holds_every_feature_of_its_views_and_transforms(
    features: FeatureService, clock: FakeClock
) -> None:
    [vector] = await features.vectors(ADA, "fraud", [ANN], request=[ORDER])
    assert vector.values == {
        "age": 41,
        "city": "Oslo",
        "joined": "2025-12-01T00:00:00Z",
        "risk": 0.5,
        "risky_amount": 5.0,
        "days_a_member": 30,
    }
    assert vector.status == {"profile": "present", "place": "present"}
    assert vector.at == {"profile": clock.now(), "place": clock.now() - 3 * HOUR}


async def test_all_views_of_all_entities_are_read_at_once(features: FeatureService, store: Counting) -> None:
    store.asked = 0
    vectors = await features.vectors(ADA, "fraud", [ANN, BOB] * 50, request=[ORDER] * 100)
    assert (len(vectors), store.asked) == (100, 1)
    assert [vectors[0].values["age"], vectors[1].values["age"], vectors[98].values["age"]] == [41, None, 41]


async def test_what_is_too_old_or_unknown_is_withheld_and_says_so(features: FeatureService, clock: FakeClock) -> None:
    stranger = {"customer": "eve", "merchant": "none"}
    stale, unknown = await features.vectors(ADA, "fraud", [BOB, stranger], request=[ORDER, ORDER])
    assert stale.status == {"profile": "stale", "place": "present"}
    assert stale.at["profile"] == clock.now() - 2 * HOUR
    assert stale.values == {
        "age": None, "city": None, "joined": None, "risk": 0.5, "risky_amount": None, "days_a_member": None
    }  # fmt: skip
    assert unknown.status == {"profile": "unknown", "place": "unknown"}
    assert set(unknown.values.values()) == {None}


async def test_a_value_is_served_up_to_its_last_microsecond(features: FeatureService, clock: FakeClock) -> None:
    clock.advance(3600)
    assert (await features.vectors(ADA, "members", [{"customer": "ann"}]))[0].status == {"profile": "present"}
    clock.advance(0.000_001)
    assert (await features.vectors(ADA, "members", [{"customer": "ann"}]))[0].status == {"profile": "stale"}


async def test_a_value_is_not_served_before_it_has_happened(features: FeatureService, clock: FakeClock) -> None:
    soon = clock.now() + timedelta(minutes=2)
    await features.push(ADA, "profile", [Row("ann", {"age": 42}, soon)])
    [vector] = await features.vectors(ADA, "members", [{"customer": "ann"}])
    assert vector.values["age"] == 41
    clock.advance(120)
    [vector] = await features.vectors(ADA, "members", [{"customer": "ann"}])
    assert (vector.values["age"], vector.at["profile"]) == (42, soon)


@pytest.mark.parametrize(
    ("entities", "request_fields", "paths"),
    [
        ([], [], {"$.entities"}),
        ([ANN] * 1001, [], {"$.entities"}),
        ([ANN], [], {"$.request"}),
        ([ANN], [ORDER, ORDER], {"$.request"}),
        ([{"customer": "ann"}], [ORDER], {"$.entities[0].merchant"}),
        ([ANN, {**ANN, "shop": "x"}], [ORDER, ORDER], {"$.entities[1].shop"}),
        ([{**ANN, "customer": ""}], [ORDER], {"$.entities[0].customer"}),
        ([{**ANN, "customer": "é" * 129}], [ORDER], {"$.entities[0].customer"}),
        ([{**ANN, "customer": 7}], [ORDER], {"$.entities[0].customer"}),
        ([ANN], [{"amount": "10"}], {"$.request[0].amount"}),
        ([ANN, ANN], [ORDER, {"placed": "never"}], {"$.request[1].amount", "$.request[1].placed"}),
        ([ANN], [{"amount": -1}], {"$.request[0].amount"}),
        ([ANN], [{"amount": float("nan")}], {"$.request[0]"}),
        ([ANN], [{**ORDER, "more": 1}], {"$.request[0].more"}),
    ],
)
async def test_what_is_asked_wrongly_is_refused_by_path(
    features: FeatureService, entities: Any, request_fields: Any, paths: set[str]
) -> None:
    with pytest.raises(InvalidInput) as caught:
        await features.vectors(ADA, "fraud", entities, request=request_fields)
    assert {fault.path for fault in caught.value.fields} == paths


async def test_an_undeclared_service_is_not_found(features: FeatureService) -> None:
    with pytest.raises(NotFound):
        await features.vectors(ADA, "other", [ANN])


async def test_a_transform_that_fails_or_gives_something_else_is_unavailable(clock: FakeClock) -> None:
    for wrong in (lambda inputs: 1 / 0, lambda inputs: None):
        app = shop()
        specs = [spec for spec in app.all() if not isinstance(spec, OnDemandSpec)]
        specs.append(OnDemandSpec("scores", ("profile", "place"), Order, Scores, wrong))
        features = FeatureService(specs, store=MemoryKeyValue(clock=clock), clock=clock)
        await features.push(ADA, "profile", [Row("ann", {"age": 1}, clock.now())])
        await features.push(ADA, "place", [Row("kiosk", {"merchant": "kiosk", "risk": 1}, clock.now())])
        with pytest.raises(Unavailable, match="the transform scores"):
            await features.vectors(ADA, "fraud", [ANN], request=[ORDER])


async def test_the_catalogue_tells_what_a_service_reads(features: FeatureService) -> None:
    fraud, members = await features.services(ADA)
    assert (fraud.name, fraud.views, fraud.on_demand) == ("fraud", ("profile", "place"), ("scores",))
    assert (fraud.entities, fraud.request) == (("customer", "merchant"), ("amount", "placed"))
    assert fraud.fields["risky_amount"] == "number"
    assert fraud.origins == {
        "age": "profile", "city": "profile", "joined": "profile", "risk": "place",
        "risky_amount": "scores", "days_a_member": "scores",
    }  # fmt: skip
    assert (members.request, members.reads) == ((), {})
    assert len(fraud.fingerprint) == 16


def fingerprint(app: System, name: str = "fraud", **changes: Any) -> str:
    specs = []
    for spec in app.all():
        if isinstance(spec, ViewSpec) and spec.name in changes:
            spec = changes[spec.name](spec)
        specs.append(spec)
    clock = FakeClock()
    service = FeatureService(specs, store=MemoryKeyValue(clock=clock), clock=clock)
    return service._catalogue.plan(name).service.fingerprint


def test_a_fingerprint_changes_with_whatever_the_service_reads_and_with_nothing_else() -> None:
    from dataclasses import replace

    base = fingerprint(shop())
    assert fingerprint(shop()) == base
    shorter = {"place": lambda spec: replace(spec, ttl=HOUR)}
    assert fingerprint(shop(), **shorter) != base
    assert fingerprint(shop(), "members", **shorter) == fingerprint(shop(), "members")

    class Described(Profile):
        """Other words."""

    assert fingerprint(shop(), profile=lambda spec: replace(spec, row=Described)) == base

    class Wider(Profile):
        more: int = 0

    assert fingerprint(shop(), profile=lambda spec: replace(spec, row=Wider)) != base


def test_a_fingerprint_changes_with_the_text_of_a_transform() -> None:
    base = fingerprint(shop())
    specs = [spec for spec in shop().all() if not isinstance(spec, OnDemandSpec)]
    clock = FakeClock()

    def other(inputs: Mapping[str, Any]) -> Scores:
        return Scores(risky_amount=0, days_a_member=None)

    specs.append(OnDemandSpec("scores", ("profile", "place"), Order, Scores, other))
    service = FeatureService(specs, store=MemoryKeyValue(clock=clock), clock=clock)
    assert service._catalogue.plan("fraud").service.fingerprint != base


def test_services_of_undeclared_parts_cannot_be_built() -> None:
    clock = FakeClock()
    for spec in (ServiceSpec("s", ("none",)), ServiceSpec("s", ("profile",), ("none",))):
        with pytest.raises(Misconfigured):
            FeatureService([*shop().all(), spec], store=MemoryKeyValue(clock=clock), clock=clock)
