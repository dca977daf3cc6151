"""What the routes of review are given: bodies, each of which becomes a type of the contract."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from ..core.values import Json
from .contract import Contribution, Draft, Explanation, Passage, Priority, Signals, Source, Submission, Verdict


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class ContributionBody(Body):
    """What one feature did to the score."""

    feature: str = Field(max_length=200)
    value: Json = None
    weight: float


class PassageBody(Body):
    """A cited passage."""

    text: str = Field(max_length=20_000)
    source: str = Field("", max_length=500)
    place: str = Field("", max_length=500)


class ExplanationBody(Body):
    """Why the model proposes it."""

    text: str = Field("", max_length=20_000)
    contributions: list[ContributionBody] = Field([], max_length=500)
    passages: list[PassageBody] = Field([], max_length=100)


class SourceBody(Body):
    """Where something comes from."""

    title: str = Field(max_length=500)
    reference: str = Field("", max_length=2_000)


class SignalsBody(Body):
    """What the rules of routing look at."""

    confidence: float | None = None
    uncertainty: float | None = None
    disagreement: float | None = None
    policies: list[str] = Field([], max_length=50)
    slice: str = Field("", max_length=200)


class DraftBody(Body):
    """A proposal to be looked at."""

    queue: str = Field(max_length=64, description="The declared queue.")
    input: Any = Field(description="What the model was given.")
    proposal: Any = Field(description="What it proposes.")
    key: str = Field("", max_length=200, description="The same key is the same item.")
    title: str = Field("", max_length=200, description="A line for lists. It names no person.")
    question: str = Field("", max_length=2_000, description="What the reviewer is asked.")
    signals: SignalsBody = SignalsBody()
    priority: Priority = "normal"
    explanation: ExplanationBody = ExplanationBody()
    sources: list[SourceBody] = Field([], max_length=100)
    model: str = Field("", max_length=200)
    model_version: str = Field("", max_length=100)
    cost: str = Field("", max_length=30, description="Dollars, as decimal text.")
    skills: list[str] = Field([], max_length=20)
    excluded: list[str] = Field([], max_length=100, description="Principals who must not decide.")
    request_id: str = Field("", max_length=200)
    forced: bool = Field(False, description="Open it even where no rule asks for a person.")

    def draft(self) -> Draft:
        """As the contract has it."""
        explanation = Explanation(
            text=self.explanation.text,
            contributions=[Contribution(c.feature, c.value, c.weight) for c in self.explanation.contributions],
            passages=[Passage(p.text, p.source, p.place) for p in self.explanation.passages],
        )
        return Draft(
            queue=self.queue,
            input=self.input,
            proposal=self.proposal,
            key=self.key,
            title=self.title,
            question=self.question,
            signals=Signals(**self.signals.model_dump()),
            priority=self.priority,
            explanation=explanation,
            sources=[Source(each.title, each.reference) for each in self.sources],
            model=self.model,
            model_version=self.model_version,
            cost=self.cost,
            skills=self.skills,
            excluded=self.excluded,
            request_id=self.request_id,
            forced=self.forced,
        )


class OpenRequest(Body):
    """Proposals to be looked at, all or none."""

    drafts: list[DraftBody] = Field(min_length=1, max_length=100)


class AskRequest(Body):
    """A proposal, and how long to wait for people."""

    draft: DraftBody
    seconds: float = Field(0.0, ge=0, le=300, description="How long to wait. Ask again to wait longer.")


class GoldenRequest(Body):
    """A golden item and what is right for it."""

    draft: DraftBody
    verdict: Verdict
    value: Any = None
    wrong: bool = Field(False, description="The proposal is wrong on purpose.")


class ClaimRequest(Body):
    """What to take."""

    queue: str = Field("", max_length=64, description="Of this queue only.")
    items: list[str] = Field([], max_length=50, description="These items, instead of what comes next.")
    limit: int = Field(1, ge=1, le=50)


class TokenRequest(Body):
    """The lease that is meant."""

    token: int = Field(ge=1, le=2**53)


class DeferRequest(TokenRequest):
    """Until when an item is put off."""

    until: datetime
    note: str = Field("", max_length=4_000)


class QuestionRequest(TokenRequest):
    """What the author is asked."""

    question: str = Field(min_length=1, max_length=4_000)


class AnswerRequest(Body):
    """What the author says."""

    text: str = Field(min_length=1, max_length=4_000)


class DelegateRequest(Body):
    """Who shall decide."""

    to: str = Field(min_length=1, max_length=200, description="A principal, such as user:ada.")
    note: str = Field("", max_length=4_000)


class DecisionBody(Body):
    """One decision. Version, digest and token are those of the case that was shown."""

    version: int = Field(ge=1, le=2**53)
    digest: str = Field(pattern="^[0-9a-f]{64}$")
    token: int = Field(ge=1, le=2**53)
    verdict: Verdict
    reason: str = Field("", max_length=100)
    note: str = Field("", max_length=4_000)
    value: Any = Field(None, description="The corrected proposal, for `edit`.")
    patch: list[dict[str, Any]] | None = Field(None, max_length=1_000, description="Or the change (RFC 6902).")

    def submission(self, item: str) -> Submission:
        """As the contract has it."""
        return Submission(item=item, **{name: getattr(self, name) for name in DecisionBody.model_fields})


class BulkDecision(DecisionBody):
    """One decision of several."""

    item: str = Field(max_length=100)


class BulkRequest(Body):
    """Decisions, each taken or refused by itself."""

    decisions: list[BulkDecision] = Field(min_length=1, max_length=100)


class ReviewerBody(Body):
    """A reviewer's entry."""

    skills: list[str] = Field([], max_length=100)
    queues: list[str] = Field([], max_length=100, description="Only of these queues; none: of all.")
    capacity: int = Field(10, ge=1, le=1_000)
    away: bool = False
