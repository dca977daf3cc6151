"""Made-up loan applications, and the card by which they are scored: additive, so that each part explains itself."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator

from pydantic import BaseModel, Field

BASE = 0.2
WEIGHTS = {"income": 1.6, "debt": -2.2, "years_employed": 0.9, "late_payments": -1.1}
MIDDLE = {"income": 38_000.0, "debt": 0.35, "years_employed": 4.0, "late_payments": 0.6}
SPREAD = {"income": 20_000.0, "debt": 0.2, "years_employed": 4.0, "late_payments": 1.0}


class Application(BaseModel):
    """What an applicant tells, and what the credit file says."""

    id: str
    name: str
    income: float = Field(ge=0, description="Dollars a year.")
    debt: float = Field(ge=0, le=5, description="Debt for each dollar of income.")
    years_employed: float = Field(ge=0)
    late_payments: int = Field(ge=0, description="In the last two years.")
    amount: int = Field(gt=0, description="Dollars asked for.")


class Offer(BaseModel):
    """What is proposed, and in the end decided."""

    grant: bool
    amount: int = Field(ge=0)
    rate: float = Field(ge=0, le=30, description="Percent a year.")


def contributions(application: Application) -> dict[str, float]:
    """How far each feature moves the score, in log-odds."""
    values = application.model_dump()
    return {name: weight * (values[name] - MIDDLE[name]) / SPREAD[name] for name, weight in WEIGHTS.items()}


def probability(application: Application) -> float:
    """The chance that the loan is paid back, by the card."""
    return 1 / (1 + math.exp(-BASE - sum(contributions(application).values())))


def applications(seed: int, number: int) -> Iterator[Application]:
    """Applications that look like the middle of the card's world, and some that do not."""
    chance = random.Random(seed)
    for place in range(number):
        yield Application(
            id=f"loan-{place:04}",
            name=f"Applicant {place:04}",
            income=round(max(8_000.0, chance.gauss(38_000, 20_000)), 2),
            debt=round(min(3.0, max(0.0, chance.gauss(0.35, 0.25))), 3),
            years_employed=round(max(0.0, chance.gauss(4, 4)), 1),
            late_payments=max(0, round(chance.gauss(0.6, 1.0))),
            amount=1_000 * chance.randint(2, 40),
        )
