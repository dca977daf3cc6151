"""A small shop's features: pushed views, a transform at request time, and a service over them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from pydantic import BaseModel, Field

from stanchion import System
from stanchion.features import count, distinct, maximum, mean, total

HOUR = timedelta(hours=1)


class Profile(BaseModel):
    age: int
    city: str | None = None
    joined: datetime | None = None


class Place(BaseModel):
    merchant: str
    risk: float


class Order(BaseModel):
    amount: float = Field(gt=0)
    placed: datetime | None = None


class Scores(BaseModel):
    risky_amount: float
    days_a_member: int | None


def shop() -> System:
    app = System("shop")
    profile = app.features("profile", Profile, entity="customer", ttl=HOUR)
    place = app.features("place", Place, entity="merchant", ttl=24 * HOUR)

    @app.on_demand("scores", views=[profile, place], request=Order)
    def scores(inputs: Mapping[str, Any]) -> Scores:
        joined, placed = inputs["joined"], inputs["placed"]
        return Scores(
            risky_amount=inputs["amount"] * inputs["risk"],
            days_a_member=None if joined is None or placed is None else (placed - joined).days,
        )

    app.feature_service("fraud", [profile, place], on_demand=[scores])
    app.feature_service("members", [profile])
    return app


class Payment(BaseModel):
    customer: str
    merchant: str
    amount: float
    at: datetime
    number: int


class Spending(BaseModel):
    amount: float
    cents: int
    payments_1h: int
    amount_1h: float
    mean_1h: float | None
    largest_1d: float | None
    merchants_1d: int


class Takings(BaseModel):
    takings_1d: float


def payments(*, select: bool = True) -> System:
    """Views over one source, by two entities."""
    app = System("payments")
    source = app.source("payments", Payment, time="at", event="number")
    spending = app.features(
        "spending",
        Spending if select else Plainly,
        entity="customer",
        ttl=24 * HOUR,
        source=source,
        select={"cents": "round(amount * 100)"} if select else {},
        aggregates={
            "payments_1h": count(hours=1),
            "amount_1h": total("amount", hours=1),
            "mean_1h": mean("amount", hours=1),
            "largest_1d": maximum("amount", days=1),
            "merchants_1d": distinct("merchant", days=1),
        },
    )
    takings = app.features(
        "takings",
        Takings,
        entity="merchant",
        ttl=24 * HOUR,
        source=source,
        aggregates={"takings_1d": total("amount", days=1)},
    )
    app.feature_service("fraud", [spending, takings])
    return app


class Plainly(BaseModel):
    amount: float
    payments_1h: int
    amount_1h: float
    mean_1h: float | None
    largest_1d: float | None
    merchants_1d: int
