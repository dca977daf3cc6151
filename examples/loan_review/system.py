"""Loans: the sure ones are decided by the card, the others by people. A run waits for them, for days if need be."""

from __future__ import annotations

from typing import Literal

from applications import Application, Offer, contributions, probability
from pydantic import BaseModel

from stanchion import System
from stanchion.pipelines import LiveRun
from stanchion.review import Contribution, Explanation, LowConfidence, PolicyDemands, RandomSample, Signals, Sla

app = System("loans")

desk = app.review(
    "loans",
    # Unsure, large, or one of the five in a hundred that are looked at whatever the card says.
    when=[LowConfidence(0.75), PolicyDemands(), RandomSample(0.05)],
    edits=Offer,
    reasons={"reject": ["income-not-proven", "too-much-debt", "late-payments"], "edit": ["smaller-amount", "rate"]},
    # A reviewer judges the case, not the person.
    mask={"/input/name": frozenset({"officer"})},
    double=0.2,
    sla={"high": Sla(warn=3_600, escalate=7_200, expire=86_400)},
    undo=2.0,
)


class Decided(BaseModel):
    """The end of a run: what was decided, and by whom."""

    id: str
    offer: Offer | None
    by: Literal["card", "people", "nobody in time"]
    digest: str = ""


class Proposal(BaseModel):
    """What the card proposes."""

    offer: Offer
    chance: float
    parts: dict[str, float]


@app.stage()
def score(application: Application) -> Proposal:
    """Propose an offer by the card."""
    chance = probability(application)
    rate = round(4 + 14 * (1 - chance), 2)
    offer = Offer(grant=chance >= 0.5, amount=application.amount if chance >= 0.5 else 0, rate=rate)
    return Proposal(offer=offer, chance=chance, parts=contributions(application))


@app.pipeline("decide-loan")
async def decide_loan(run: LiveRun, application: Application) -> Decided:
    """Score, ask people where the card is unsure, and end with what holds."""
    proposal = await run.step(score, application)
    values = application.model_dump()
    answer = await desk.ask(
        run.ctx,
        key=application.id,
        given=application,
        proposal=proposal.offer,
        title=f"Loan of ${application.amount:,}",
        question="Shall this offer be made?",
        priority="high" if application.amount >= 30_000 else "normal",
        signals=Signals(
            confidence=max(proposal.chance, 1 - proposal.chance),
            policies=("large-loan",) if application.amount >= 30_000 else (),
        ),
        explanation=Explanation(
            text=f"The card gives {proposal.chance:.0%} that it is paid back.",
            contributions=[Contribution(name, values[name], weight) for name, weight in proposal.parts.items()],
        ),
        model="loan-card",
        model_version="1.0.0",
    )
    offer = None if answer.value is None else Offer.model_validate(answer.value)
    if answer.outcome is None:
        return Decided(id=application.id, offer=offer, by="card")
    by: Literal["people", "nobody in time"] = "people" if answer.outcome.by else "nobody in time"
    return Decided(id=application.id, offer=offer, by=by, digest="".join(answer.outcome.digests[:1]))
