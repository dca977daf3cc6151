"""Over HTTP, over gRPC and in process: one question, one answer, one gate."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from typing import Any

import grpc
import httpx2
import pytest

from stanchion.app.desk import house_desk
from stanchion.app.grpc.server import GrpcServer
from stanchion.app.http.build import build_app
from stanchion.features import Features, Row
from stanchion.features.feast.messages import message
from stanchion.features.feast.rpc import service
from stanchion.testing import offline
from tests.features.shop import HOUR, shop

STATUSES = {1: "PRESENT", 3: "NOT_FOUND", 4: "OUTSIDE_MAX_AGE"}
METHOD = "/feast.serving.ServingService/GetOnlineFeatures"
ENTITIES = {"customer": ["ann", "bob", "eve"], "merchant": ["kiosk"] * 3}
REQUEST = {"amount": [10.0, 20.0, 30.0]}


class Ways:
    """A running system, asked over HTTP and gRPC with its own key."""

    def __init__(self, running: Any, http: httpx2.AsyncClient, channel: Any, key: str) -> None:
        self.running = running
        self.http = http
        self._channel = channel
        self._key = key

    async def over_http(self, body: Mapping[str, Any], *, key: str | None = None) -> httpx2.Response:
        headers = {"authorization": f"Bearer {self._key if key is None else key}"}
        return await self.http.post("/get-online-features", json=body, headers=headers)

    async def over_grpc(self, body: Mapping[str, Any], *, key: str | None = None) -> dict[str, Any]:
        ask = message("GetOnlineFeaturesRequest")(full_feature_names=body.get("full_feature_names", False))
        if "feature_service" in body:
            ask.feature_service = body["feature_service"]
        else:
            ask.features.val.extend(body["features"])
        for part, given in (("entities", ask.entities), ("request_context", ask.request_context)):
            for name, values in body.get(part, {}).items():
                for value in values:
                    kind = {str: "string_val", int: "int64_val", float: "double_val"}[type(value)]
                    given[name].val.add(**{kind: value})
        call = self._channel.unary_unary(METHOD)
        metadata = (("authorization", f"Bearer {self._key if key is None else key}"),)
        told = message("GetOnlineFeaturesResponse").FromString(await call(ask.SerializeToString(), metadata=metadata))
        return {
            "metadata": {"feature_names": list(told.metadata.feature_names.val)},
            "results": [
                {
                    "values": [getattr(v, v.WhichOneof("kind")) if v.WhichOneof("kind") else None for v in each.values],
                    "statuses": [STATUSES[status] for status in each.statuses],
                    "event_timestamps": [(time.seconds, time.nanos) for time in each.event_timestamps],
                }
                for each in told.results
            ],
        }


@pytest.fixture
async def ways() -> AsyncIterator[Ways]:
    async with offline(shop()) as running:
        now = running.house.foundation.clock.now()
        features = running.door(Features)
        ctx = running.ctx
        await features.push(
            ctx, "profile", [Row("ann", {"age": 41, "city": "Oslo"}, now), Row("bob", {"age": 20}, now - 2 * HOUR)]
        )
        await features.push(ctx, "place", [Row("kiosk", {"merchant": "kiosk", "risk": 0.5}, now)])
        key = (await running.house.development_key()).read_text().strip()
        server = GrpcServer(
            [service(features, lambda: True)], house_desk(running.house), host="127.0.0.1", port=0, certificate=None
        )
        await server.start()
        app = build_app(running.house, console=False)
        transport = httpx2.ASGITransport(app=app)
        async with (
            httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1") as http,
            grpc.aio.insecure_channel(f"127.0.0.1:{server.port}") as channel,
        ):
            yield Ways(running, http, channel, key)
        await server.stop(0)


async def test_the_three_ways_give_the_same_answer(ways: Ways) -> None:
    body = {"feature_service": "fraud", "entities": ENTITIES, "request_context": REQUEST}
    http = (await ways.over_http(body)).json()
    rpc = await ways.over_grpc(body)
    entities = [{name: column[i] for name, column in ENTITIES.items()} for i in range(3)]
    vectors = await ways.running.door(Features).vectors(
        ways.running.ctx, "fraud", entities, request=[{"amount": amount} for amount in REQUEST["amount"]]
    )
    names = http["metadata"]["feature_names"]
    assert names == ["customer", "merchant", *vectors[0].values]
    assert rpc["metadata"]["feature_names"] == names
    for name, over_http, over_grpc in zip(names, http["results"], rpc["results"], strict=True):
        assert over_http["values"] == over_grpc["values"]
        assert over_http["statuses"] == over_grpc["statuses"]
        if name not in ENTITIES:
            assert over_http["values"] == [vector.values[name] for vector in vectors]
    statuses = dict(zip(names, (each["statuses"] for each in http["results"]), strict=True))
    assert statuses["age"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert statuses["risky_amount"] == ["PRESENT", "OUTSIDE_MAX_AGE", "NOT_FOUND"]
    assert statuses["risk"] == ["PRESENT"] * 3


async def test_features_are_named_one_by_one_with_their_view_in_front_if_asked(ways: Ways) -> None:
    body = {"features": ["place:risk", "profile:age"], "entities": ENTITIES, "full_feature_names": True}
    http = (await ways.over_http(body)).json()
    assert http["metadata"]["feature_names"] == ["merchant", "customer", "place__risk", "profile__age"]
    assert http["results"][3]["values"] == [41, None, None]
    assert (await ways.over_grpc(body))["results"][3]["values"] == [41, None, None]


async def test_a_transform_is_named_like_a_view(ways: Ways) -> None:
    body = {"features": ["scores:risky_amount"], "entities": {**ENTITIES, **REQUEST}}
    http = (await ways.over_http(body)).json()
    assert http["results"][2]["values"] == [5.0, None, None]


async def test_whole_numbers_are_keys_as_text(ways: Ways) -> None:
    body = {"features": ["profile:age"], "entities": {"customer": [7]}}
    assert (await ways.over_http(body)).json()["results"][0]["values"] == [7]
    assert (await ways.over_grpc(body))["results"][1]["statuses"] == ["NOT_FOUND"]


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"entities": {"customer": ["a"]}}, "$"),
        ({"feature_service": "members", "features": ["profile:age"], "entities": {"customer": ["a"]}}, "$"),
        ({"feature_service": "members", "entities": {}}, "$.entities"),
        ({"feature_service": "fraud", "entities": {"customer": ["a"], "merchant": ["a", "b"]}}, "$.entities"),
        ({"feature_service": "members", "entities": {"shop": ["a"]}}, "$.entities.shop"),
        ({"feature_service": "members", "entities": {"customer": [True]}}, "$.entities.customer[0]"),
        ({"features": ["age"], "entities": {"customer": ["a"]}}, "$.features[0]"),
        ({"features": ["profile:none"], "entities": {"customer": ["a"]}}, "$.features[0]"),
        ({"features": ["none:age"], "entities": {"customer": ["a"]}}, "$.features"),
        ({"features": ["profile:age"], "entities": {"customer": ["a"]}, "more": 1}, "$"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_by_path(ways: Ways, body: Mapping[str, Any], path: str) -> None:
    answer = await ways.over_http(body)
    assert answer.status_code == 422
    assert [fault["path"] for fault in answer.json()["errors"]] == [path]


async def test_an_undeclared_service_is_not_found(ways: Ways) -> None:
    body = {"feature_service": "none", "entities": {"customer": ["a"]}}
    assert (await ways.over_http(body)).status_code == 404
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ways.over_grpc(body)
    assert caught.value.code() == grpc.StatusCode.NOT_FOUND


async def test_nobody_reads_without_a_key(ways: Ways) -> None:
    body = {"feature_service": "members", "entities": {"customer": ["ann"]}}
    assert (await ways.over_http(body, key="wrong")).status_code == 401
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await ways.over_grpc(body, key="wrong")
    assert caught.value.code() == grpc.StatusCode.UNAUTHENTICATED


async def test_bytes_that_are_no_message_are_refused(ways: Ways) -> None:
    call = ways._channel.unary_unary(METHOD)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call(b"\xff\xff", metadata=(("authorization", f"Bearer {ways._key}"),))
    assert caught.value.code() == grpc.StatusCode.INVALID_ARGUMENT


async def test_management_routes_tell_of_services_vectors_health_and_lineage(ways: Ways) -> None:
    headers = {"authorization": f"Bearer {ways._key}"}
    services = (await ways.http.get("/v1/features/services", headers=headers)).json()["data"]
    assert [each["name"] for each in services] == ["fraud", "members"]
    body = {"entities": [{"customer": "ann"}]}
    read = await ways.http.post("/v1/features/services/members/vectors", json=body, headers=headers)
    assert read.json()["data"][0]["values"] == {"age": 41, "city": "Oslo", "joined": None}
    health = (await ways.http.get("/v1/features/health", headers=headers)).json()["data"]
    assert {each["view"]: each["state"] for each in health} == {"place": "fresh", "profile": "fresh"}
    lineage = (await ways.http.get("/v1/features/services/fraud/lineage", headers=headers)).json()
    assert ["field:profile.age", "view:profile"] in lineage["edges"]
    document = (await ways.http.get("/openapi.json", headers=headers)).json()
    assert "/get-online-features" in document["paths"]
    json.dumps(document)
