"""Models made of models: two judges and a rule of thumb vote, a chain prepares, a switch sends on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from pydantic import BaseModel, Field

from stanchion import System
from stanchion.serving import Drop, Member, Stack, Vote, WeightedMean

app = System("credit")


class Application(BaseModel):
    """A loan that is asked for."""

    income: float = Field(ge=0, le=10_000_000, description="A year's, in US dollars.")
    amount: float = Field(gt=0, le=10_000_000)
    years: int = Field(ge=1, le=40)
    region: Literal["north", "south"] = "north"


class Opinion(BaseModel):
    """How risky it is."""

    risk: float = Field(ge=0, le=1)
    verdict: Literal["low", "high"]


def _opinion(risk: float) -> Opinion:
    risk = min(max(risk, 0.0), 1.0)
    return Opinion(risk=risk, verdict="high" if risk >= 0.5 else "low")


@app.model("burden")
async def burden(items: Sequence[Application]) -> list[Opinion]:
    """What a year of the loan takes of a year's income."""
    return [_opinion(item.amount / item.years / max(item.income, 1.0)) for item in items]


@app.model("size")
def size(items: Sequence[Application]) -> list[Opinion]:
    """The whole loan against three years' income; a plain function, so it runs on a thread."""
    return [_opinion(item.amount / max(3 * item.income, 1.0)) for item in items]


@app.model("patience")
async def patience(items: Sequence[Application]) -> list[Opinion]:
    """Long loans are riskier."""
    return [_opinion(item.years / 40) for item in items]


# Each member has one voice; two of the three must answer, else the default does.
vote = app.ensemble(
    "vote",
    input=Application,
    output=Opinion,
    members=[burden, size, patience],
    by=Vote("verdict", share="risk"),
    on_failure=Drop(least=2),
    default=Opinion(risk=0.5, verdict="high"),
)

blend = app.ensemble(
    "blend",
    input=Application,
    output=Opinion,
    members=[Member("burden", weight=3), Member("size", weight=2), patience],
    by=WeightedMean(("risk",), label="verdict", bands={"low": 0.0, "high": 0.5}),
    default=Opinion(risk=0.5, verdict="high"),
)


class Opinions(BaseModel):
    """What the judge over the judges sees."""

    burden: float
    size: float
    years: int


@app.model("judge")
async def judge(items: Sequence[Opinions]) -> list[Opinion]:
    """Trusts the burden more, the longer the loan."""
    return [_opinion(item.burden * item.years / 40 + item.size * (1 - item.years / 40)) for item in items]


stack = app.ensemble(
    "stack",
    input=Application,
    output=Opinion,
    members=[burden, size],
    by=Stack("judge", {"burden": "burden.risk", "size": "size.risk", "years": "input.years"}),
)


class Euros(BaseModel):
    """The same application in euros."""

    income_eur: float = Field(ge=0, le=10_000_000)
    amount_eur: float = Field(gt=0, le=10_000_000)
    years: int = Field(ge=1, le=40)


def converted(item: Euros) -> Application:
    """At a fixed rate, for the example's sake."""
    return Application(income=item.income_eur * 1.1, amount=item.amount_eur * 1.1, years=item.years)


def rounded(item: Opinion) -> Opinion:
    """Two digits are all that such a rule of thumb is worth."""
    return Opinion(risk=round(item.risk, 2), verdict=item.verdict)


euros = app.chain("euros", input=Euros, output=Opinion, steps=[converted, blend, rounded])

regional = app.switch(
    "regional",
    input=Application,
    output=Opinion,
    cases=[(lambda item: item.region == "south", vote), (lambda item: item.amount < 1_000, size)],
    otherwise=blend,
)
