"""The system of the real-time benchmark: windows over pushed events, a cache, a model and a rule.

It is small, but nothing in it is left out or stands in for something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, Field, create_model

from stanchion import Dataset, System
from stanchion.features import count, maximum, mean, minimum, total
from stanchion.serving import Cache
from stanchion.training import identifier

MODEL = "payment"
app = System("real-time")


class Paid(BaseModel):
    """One payment of a customer."""

    customer: str
    event: str
    amount: float
    at: datetime


class Habits(BaseModel):
    """Ten windows over a customer's payments."""

    customer: str
    payments_1h: int
    payments_6h: int
    payments_24h: int
    spent_1h: float
    spent_6h: float
    spent_24h: float
    mean_24h: float | None
    least_24h: float | None
    most_24h: float | None
    most_1h: float | None


class Amount(BaseModel):
    """What the transform reads of the request."""

    amount: float


class Compared(BaseModel):
    """The payment beside the customer's habits."""

    over_mean: float | None


paid = app.source("paid", Paid, time="at", event="event")
habits = app.features(
    "habits",
    Habits,
    entity="customer",
    ttl=timedelta(days=1),
    source=paid,
    aggregates={
        "payments_1h": count(hours=1),
        "payments_6h": count(hours=6),
        "payments_24h": count(hours=24),
        "spent_1h": total("amount", hours=1),
        "spent_6h": total("amount", hours=6),
        "spent_24h": total("amount", hours=24),
        "mean_24h": mean("amount", hours=24),
        "least_24h": minimum("amount", hours=24),
        "most_24h": maximum("amount", hours=24),
        "most_1h": maximum("amount", hours=1),
    },
)


@app.on_demand("compared", views=[habits], request=Amount)
def compared(inputs: Mapping[str, Any]) -> Compared:
    """How far the amount stands out."""
    usual = inputs["mean_24h"]
    return Compared(over_mean=inputs["amount"] / usual if usual else None)


behaviour = app.feature_service("behaviour", [habits], on_demand=[compared])

OWN = ("amount", *(f"x{number}" for number in range(8)))
COLUMNS = (*OWN, *(name for name in Habits.model_fields if name != "customer"), "over_mean")

Payment: Any = create_model(
    "Payment",
    customer=(Annotated[str, Field(min_length=1, max_length=64), identifier], ...),
    **dict.fromkeys(OWN, (float, ...)),
)


class Verdict(BaseModel):
    """How likely the payment is no good."""

    probability: float = Field(ge=0, le=1)


def enormous(payment: Any, verdict: Verdict) -> Verdict | None:
    """A payment above a million is refused, whatever the model says."""
    return Verdict(probability=1.0) if payment.amount > 1_000_000 else None


payment = app.trained(MODEL, input=Payment, output=Verdict, features=behaviour, cache=Cache(ttl=600), rules=[enormous])


@payment.data
def none(source: Path | None, seed: int) -> Dataset:
    """The benchmark registers a version of its own; this file is not for training."""
    raise NotImplementedError("benchmarks/serving/real_time.py registers the model")


@payment.estimator
def trees() -> Any:
    """Never asked for, see above."""
    from sklearn.ensemble import HistGradientBoostingClassifier

    return HistGradientBoostingClassifier()
