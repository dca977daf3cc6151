"""A feature that cannot be served is refused where it is declared, with what to do about it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from stanchion import System
from stanchion.core.errors import Misconfigured
from stanchion.features import OnDemandSpec, ServiceSpec, SourceSpec, Table, ViewSpec, count, mean, total

DAY = timedelta(days=1)


class Payment(BaseModel):
    customer: str
    amount: float
    shop: str
    at: datetime
    known_at: datetime


class Spending(BaseModel):
    payments_1h: int
    amount_24h: float
    mean_24h: float | None
    dollars: float
    shop: str


class Order(BaseModel):
    price: float


class Ratio(BaseModel):
    ratio: float


WINDOWS = {
    "payments_1h": count(hours=1),
    "amount_24h": total("amount", hours=24),
    "mean_24h": mean("amount", days=1),
}


def declared() -> System:
    app = System("shop")
    payments = app.source(
        "payments", Payment, time="at", known="known_at", table=Table("parquet", "payments/*.parquet")
    )
    spending = app.features(
        "spending",
        Spending,
        entity="customer",
        ttl=DAY,
        source=payments,
        select={"dollars": "amount * 1.1"},
        aggregates=WINDOWS,
    )

    @app.on_demand("ratio", views=[spending], request=Order)
    def ratio(inputs: Mapping[str, Any]) -> Ratio:
        return Ratio(ratio=inputs["price"] / (inputs["amount_24h"] or 1))

    app.feature_service("fraud", [spending], on_demand=[ratio])
    return app


def test_a_declaration_gives_what_the_modules_read() -> None:
    app = declared()
    assert [spec.name for spec in app.of(SourceSpec)] == ["payments"]
    [view] = app.of(ViewSpec)
    assert view.source is not None
    assert view.source.table == Table("parquet", "payments/*.parquet")
    assert view.aggregates["amount_24h"].window == DAY
    [transform] = app.of(OnDemandSpec)
    assert (transform.views, transform.output) == (("spending",), Ratio)
    assert [(s.views, s.on_demand) for s in app.of(ServiceSpec)] == [(("spending",), ("ratio",))]


def test_a_transform_stays_a_function() -> None:
    app = System("shop")

    @app.on_demand("twice", request=Order)
    def twice(inputs: Mapping[str, Any]) -> Ratio:
        return Ratio(ratio=2 * inputs["price"])

    assert twice({"price": 4}).ratio == 8


def view(app: System, row: type[BaseModel] = Spending, **changes: Any) -> Any:
    source = app.source("payments", Payment, time="at")
    parts: dict[str, Any] = {"select": {"dollars": "amount"}, "aggregates": WINDOWS} | changes
    return app.features("spending", row, entity=parts.pop("entity", "customer"), ttl=DAY, source=source, **parts)


class Text(BaseModel):
    payments_1h: str


class Sure(BaseModel):
    mean_24h: float


@pytest.mark.parametrize(
    ("declare", "says"),
    [
        (lambda app: app.source("a b", Payment, time="at"), "needs a name"),
        (lambda app: app.source("p", Payment, time="when"), "no column 'when'"),
        (lambda app: app.source("p", Payment, time="shop"), "no moment"),
        (lambda app: app.source("p", Payment, time="at", table=Table("sql", "SELECT 1")), "connection"),
        (lambda app: app.source("p", Payment, time="at", table=Table("csv", "")), "no place"),
        (lambda app: app.features("v", Order, entity="o", ttl=DAY, aggregates={"price": count(hours=1)}), "no source"),
        (lambda app: view(app, entity="nobody"), "no column 'nobody'"),
        (lambda app: view(app, select={}), "nothing fills spending.dollars"),
        (lambda app: view(app, select={"dollars": " "}), "is empty"),
        (lambda app: view(app, select={"dollars": "1", "payments_1h": "1"}), "both selects and aggregates"),
        (lambda app: view(app, select={"dollars": "1", "more": "1"}), "which its type has not"),
        (lambda app: view(app, aggregates={**WINDOWS, "payments_1h": count()}), "shorter than a second"),
        (lambda app: view(app, aggregates={**WINDOWS, "mean_24h": mean("shop", hours=1)}), "which is no number"),
        (lambda app: view(app, aggregates={**WINDOWS, "mean_24h": mean("cost", hours=1)}), "the source has not"),
        (lambda app: view(app, Text, select={}, aggregates={"payments_1h": count(hours=1)}), "is a number"),
        (lambda app: view(app, Sure, select={}, aggregates={"mean_24h": mean("amount", hours=1)}), "is null where"),
        (lambda app: app.feature_service("s", []), "reads no view"),
        (lambda app: app.feature_service("s", [view(app)] * 2), "both spending and spending"),
    ],
)
def test_what_cannot_be_is_refused_with_the_next_step(declare: Callable[[System], Any], says: str) -> None:
    with pytest.raises(Misconfigured, match=says) as caught:
        declare(System("shop"))
    assert caught.value.hint != Misconfigured.next_step


def test_two_parts_of_a_service_cannot_give_the_same_feature() -> None:
    app = System("shop")
    one = app.features("one", Order, entity="order", ttl=DAY)
    two = app.features("two", Order, entity="order", ttl=DAY)
    with pytest.raises(Misconfigured, match="both one and two have a field 'price'"):
        app.feature_service("s", [one, two])


def test_a_field_of_the_request_cannot_have_the_name_of_a_feature() -> None:
    app = System("shop")
    one = app.features("one", Order, entity="order", ttl=DAY)

    @app.on_demand("ratio", request=Order)
    def ratio(inputs: Mapping[str, Any]) -> Ratio:
        return Ratio(ratio=1)

    with pytest.raises(Misconfigured, match="the request of ratio and one both have a field 'price'"):
        app.feature_service("s", [one], on_demand=[ratio])


def test_a_transform_reads_only_what_its_service_reads() -> None:
    app = System("shop")
    one = app.features("one", Order, entity="order", ttl=DAY)
    other = app.features("other", Text, entity="order", ttl=DAY)

    @app.on_demand("ratio", views=[other])
    def ratio(inputs: Mapping[str, Any]) -> Ratio:
        return Ratio(ratio=1)

    with pytest.raises(Misconfigured, match="the transform ratio reads other"):
        app.feature_service("s", [one], on_demand=[ratio])


def test_a_transform_says_what_it_gives() -> None:
    with pytest.raises(Misconfigured, match="does not say what it gives"):
        System("shop").on_demand("f", request=Order)(lambda inputs: Ratio(ratio=1))
