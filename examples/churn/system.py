"""Which customers are about to leave: one declared model, trained, registered and served."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from population import generated, read_ibm
from pydantic import BaseModel, Field

from stanchion import Dataset, System
from stanchion.training import aside, identifier

app = System("churn")


class Customer(BaseModel):
    """A customer as the caller knows it. What is left out takes the commonest value."""

    customer_id: Annotated[str, Field(min_length=1, max_length=64), identifier]
    tenure_months: int = Field(ge=0, le=1200, description="Whole months since the customer joined.")
    monthly_charges: float = Field(ge=0, le=10_000, description="The present monthly bill, in US dollars.")
    contract: Literal["month_to_month", "one_year", "two_year"] = "month_to_month"
    internet_service: Literal["none", "dsl", "fiber_optic"] = "fiber_optic"
    payment_method: Literal["electronic_check", "mailed_check", "bank_transfer", "credit_card"] = "electronic_check"
    paperless_billing: bool = True
    senior_citizen: bool = False
    partner: bool = False
    dependents: bool = False
    phone_service: bool = True
    multiple_lines: bool = False
    online_security: bool = False
    online_backup: bool = False
    device_protection: bool = False
    tech_support: bool = False
    streaming_tv: bool = False
    streaming_movies: bool = False
    # Accepted, so that a caller can send the record it has; no estimator sees them. Total charges are tenure times
    # monthly charges, and gender tells nothing of leaving in either data set.
    total_charges: Annotated[float | None, Field(ge=0), aside] = None
    gender: Annotated[Literal["female", "male"] | None, aside] = None


class Risk(BaseModel):
    """How likely the customer is to leave."""

    prediction: Literal["low_risk", "medium_risk", "high_risk"]
    probability: float = Field(ge=0, le=1)


churn = app.trained(
    "customer-churn-v2",
    input=Customer,
    output=Risk,
    bands={"low_risk": 0.0, "medium_risk": 0.3, "high_risk": 0.6},
    default=Risk(prediction="medium_risk", probability=0.27),
    card=(
        "Ranks the customers of a telephone and internet company by their risk of leaving, so that a retention team "
        "knows whom to call first. Not for prices, credit or refusal of service: it predicts, and explains no cause."
    ),
    seed=7,
)

WORDS = ["contract", "internet_service", "payment_method"]


@churn.data
def customers(source: Path | None, seed: int) -> Dataset:
    """The IBM Telco customers if their file is given, else a generated population."""
    return generated(seed) if source is None else read_ibm(source)


@churn.estimator
def boosted() -> Any:
    """Shallow boosted trees: the interactions of contract, tenure and service are what a linear model misses."""
    from sklearn.compose import make_column_transformer
    from sklearn.ensemble import HistGradientBoostingClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    trees = HistGradientBoostingClassifier(
        max_iter=150, learning_rate=0.05, max_leaf_nodes=8, min_samples_leaf=40, l2_regularization=1.0
    )
    return make_pipeline(make_column_transformer((words, WORDS), remainder="passthrough"), trees)


@churn.simple
def logistic() -> Any:
    """A logistic regression: a little worse, and with next to nothing that can go wrong."""
    from sklearn.compose import make_column_transformer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    words = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    return make_pipeline(
        make_column_transformer((words, WORDS), remainder=StandardScaler()), LogisticRegression(max_iter=1000)
    )


@churn.rule
def long_standing(customer: Customer) -> Risk | None:
    """Customers of two years and more under a two-year contract hardly ever leave; of others the rule says nothing."""
    if customer.contract == "two_year" and customer.tenure_months >= 24:
        return Risk(prediction="low_risk", probability=0.03)
    return None
