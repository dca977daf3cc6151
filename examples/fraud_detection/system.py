"""Which card payments are fraud: windows over a stream of payments, a model trained on them, rules after it.

A payment is judged by what was known before it: how often, how much and where the card has paid in the last hour, day
and month. `payments.py` says where the stream comes from.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Literal

import pandas
from payments import ripe, table
from pydantic import BaseModel, Field

from stanchion import Dataset, System
from stanchion.features import Table, count, distinct, maximum, mean, total
from stanchion.serving import Cache, Keep, Review
from stanchion.system import Reads
from stanchion.training import aside, identifier

app = System("fraud")

# FRAUD_PAYMENTS names a file of real transactions; without it the stream is generated at the first start. FRAUD_DATA is
# the folder in which the table of payments is kept.
FILE = os.environ.get("FRAUD_PAYMENTS")
FOLDER = Path(os.environ.get("FRAUD_DATA", Path(__file__).parent / "data"))
PAYMENTS = table(Path(FILE) if FILE else None, FOLDER)

Category = Literal[
    "entertainment",
    "food_dining",
    "gas_transport",
    "grocery_net",
    "grocery_pos",
    "health_fitness",
    "home",
    "kids_pets",
    "misc_net",
    "misc_pos",
    "personal_care",
    "shopping_net",
    "shopping_pos",
    "travel",
]


class Paid(BaseModel):
    """A payment as the stream has it. It becomes known after it was made, so that none is judged by itself."""

    payment_id: str
    card_id: str
    amount: float
    merchant: str
    at: datetime
    known_at: datetime


class Spending(BaseModel):
    """What a card has done lately."""

    card_id: str
    payments_1h: int
    payments_24h: int
    spent_1h: float
    spent_24h: float
    merchants_24h: int
    payments_30d: int
    mean_30d: float | None
    largest_30d: float | None


class Amount(BaseModel):
    """What the transform reads of the payment under judgement."""

    amount: float


class Comparison(BaseModel):
    """The payment beside the card's habits; null for a card without any."""

    over_mean: float | None
    over_largest: float | None


class Payment(BaseModel):
    """A payment to be judged."""

    card_id: Annotated[str, Field(min_length=1, max_length=64), identifier]
    amount: float = Field(gt=0, le=1_000_000, description="In the card's currency.")
    category: Category = "misc_pos"
    merchant: Annotated[str | None, Field(max_length=200), aside] = None


class Verdict(BaseModel):
    """What to do with the payment."""

    prediction: Literal["allow", "check", "block"]
    probability: float = Field(ge=0, le=1)


paid = app.source(
    "payments", Paid, time="at", known="known_at", event="payment_id", table=Table("parquet", str(PAYMENTS))
)

spending = app.features(
    "card_spending",
    Spending,
    entity="card_id",
    ttl=timedelta(days=60),
    source=paid,
    aggregates={
        "payments_1h": count(hours=1),
        "payments_24h": count(hours=24),
        "spent_1h": total("amount", hours=1),
        "spent_24h": total("amount", hours=24),
        "merchants_24h": distinct("merchant", hours=24),
        "payments_30d": count(days=30),
        "mean_30d": mean("amount", days=30),
        "largest_30d": maximum("amount", days=30),
    },
)


@app.on_demand("amount_compared", views=[spending], request=Amount)
def amount_compared(inputs: Mapping[str, Any]) -> Comparison:
    """How far the amount stands out from what the card is used to."""
    usual, largest = inputs["mean_30d"], inputs["largest_30d"]
    return Comparison(
        over_mean=None if not usual else inputs["amount"] / usual,
        over_largest=None if not largest else inputs["amount"] / largest,
    )


card_behaviour = app.feature_service("card_behaviour", [spending], on_demand=[amount_compared])


def burst(payment: Any, verdict: Verdict, features: Mapping[str, Any]) -> Verdict | None:
    """The seventh payment within an hour is blocked whatever the model says."""
    if (features.get("payments_1h") or 0) >= 6:
        return Verdict(prediction="block", probability=verdict.probability)
    return None


fraud = app.trained(
    "fraud",
    input=Payment,
    output=Verdict,
    bands={"allow": 0.0, "check": 0.3, "block": 0.8},
    default=Verdict(prediction="check", probability=0.3),
    features=Reads(card_behaviour, stale="next_rung", unknown="default", defaults={"payments_30d": 0}),
    cache=Cache(ttl=5.0),
    rules=[burst],
    review=Review(when=lambda payment, verdict: verdict.prediction == "check", reason="neither clear nor fraud"),
    journal=Keep(share=1.0, omit=["merchant"]),
    card=(
        "Ranks card payments by their risk of fraud from the card's behaviour of the last month, so that the riskiest "
        "are stopped or looked at. Not for judging a person: it knows a card's payments and nothing else."
    ),
    seed=7,
)

WORDS = ["category"]
NUMBERS = ["amount", *(name for name in Spending.model_fields if name != "card_id"), *Comparison.model_fields]


@fraud.data
def labelled(source: Path | None, seed: int) -> Dataset:
    """The payments whose label is final, each judged at the moment it was made."""
    rows = pandas.read_parquet(table(source, FOLDER) if source else PAYMENTS)
    rows = ripe(rows)
    described = "generated payments" if not (source or FILE) else "transactions of a fraud file"
    return Dataset(rows, rows["fraud"].astype(int).to_numpy(), described, time="at")


@fraud.estimator
def boosted() -> Any:
    """Boosted trees: an absent mean is a fact about a card, and trees take it as one."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    trees = HistGradientBoostingClassifier(
        max_iter=120, learning_rate=0.06, max_leaf_nodes=8, min_samples_leaf=20, l2_regularization=1.0
    )
    return make_pipeline(make_column_transformer((words, WORDS), ("passthrough", NUMBERS)), trees)


@fraud.simple
def logistic() -> Any:
    """A logistic regression on the same columns, absent numbers as their median."""
    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    numbers = make_pipeline(SimpleImputer(strategy="median"), StandardScaler())
    return make_pipeline(make_column_transformer((words, WORDS), (numbers, NUMBERS)), LogisticRegression(max_iter=1000))


@fraud.rule
def small_change(payment: Payment) -> Verdict | None:
    """Without any model: small payments pass, the rest is looked at."""
    return Verdict(prediction="allow", probability=0.02) if payment.amount <= 20 else None
