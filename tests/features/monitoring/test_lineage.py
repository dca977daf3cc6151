"""From the columns of a source to the features of a service."""

from __future__ import annotations

from stanchion import System
from stanchion.core.storage.keyvalue.memory import MemoryKeyValue
from stanchion.features import Lineage
from stanchion.features.service import FeatureService
from stanchion.testing.clock import FakeClock
from stanchion.testing.features import ADA
from tests.features.shop import payments, shop


async def lineage(app: System, service: str = "fraud") -> Lineage:
    clock = FakeClock()
    features = FeatureService(app.all(), store=MemoryKeyValue(clock=clock), clock=clock)
    return await features.lineage(ADA, service)


async def test_a_field_comes_from_the_columns_that_its_text_names() -> None:
    found = await lineage(payments())
    to = {start for start, end in found.edges if end == "field:spending.cents"}
    assert to == {"column:payments.amount"}
    assert ("source:payments", "column:payments.amount") in found.edges
    assert ("column:payments.at", "field:spending.payments_1h") in found.edges
    assert ("column:payments.merchant", "field:spending.merchants_1d") in found.edges
    assert ("field:takings.takings_1d", "view:takings") in found.edges
    assert ("view:takings", "service:fraud") in found.edges
    details = {node.id: node.detail for node in found.nodes}
    assert details["field:spending.cents"] == "round(amount * 100)"
    assert details["field:takings.takings_1d"] == "sum(amount) over the last day"
    assert details["service:fraud"] == found.fingerprint


async def test_a_transform_stands_between_its_inputs_and_its_outputs() -> None:
    found = await lineage(shop())
    assert ("field:place.risk", "transform:scores") in found.edges
    assert ("request:amount", "transform:scores") in found.edges
    assert ("transform:scores", "field:scores.risky_amount") in found.edges
    assert ("source:place", "field:place.risk") in found.edges


async def test_every_edge_joins_two_nodes() -> None:
    for app in (shop(), payments()):
        found = await lineage(app)
        ids = {node.id for node in found.nodes}
        assert {end for edge in found.edges for end in edge} <= ids
