"""What goes into the queue and what comes out of it: drafts, items, and the case as one reviewer sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ...core.values import Json
from .decisions import Outcome, Verdict

Priority = Literal["urgent", "high", "normal", "low"]
Status = Literal["open", "claimed", "waiting", "deferred", "settling", "decided", "expired"]
"""open: a seat is free. claimed: all seats are taken. waiting: a reviewer has asked for information.
deferred: put off until a moment. settling: decided, and can still be undone. decided, expired: for good."""
MASKED = "[masked]"
"""What stands in the place of a field that the reader may not see."""


@dataclass(frozen=True, slots=True)
class Signals:
    """What the rules of routing look at, as the caller measured it.

    `confidence` and `disagreement` are 0 to 1; `uncertainty` has the unit of the model. `policies` are the names of
    policies that demand a person. `slice` names the part of the data that the input belongs to.
    """

    confidence: float | None = None
    uncertainty: float | None = None
    disagreement: float | None = None
    policies: Sequence[str] = ()
    slice: str = ""


@dataclass(frozen=True, slots=True)
class Contribution:
    """What one feature did to a tabular model's score: its value, and how far it moved the score."""

    feature: str
    value: Json
    weight: float


@dataclass(frozen=True, slots=True)
class Passage:
    """A passage of a source that the proposal rests on."""

    text: str
    source: str = ""
    place: str = ""


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why the model proposes what it proposes: in words, by features, by cited passages."""

    text: str = ""
    contributions: Sequence[Contribution] = ()
    passages: Sequence[Passage] = ()


@dataclass(frozen=True, slots=True)
class Source:
    """Where something comes from."""

    title: str
    reference: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """A proposal to be looked at by people.

    `key` makes opening idempotent: the same key of the same author in the same queue is the same item. `title` is
    shown in lists, so it names no person. `cost` is dollars as decimal text. `skills` are needed besides those of the
    queue. `excluded` are principals who must not decide, besides the author. `forced` opens an item even where no
    rule asks for one.
    """

    queue: str
    input: Json
    proposal: Json
    key: str = ""
    title: str = ""
    question: str = ""
    signals: Signals = Signals()
    priority: Priority = "normal"
    explanation: Explanation = Explanation()
    sources: Sequence[Source] = ()
    model: str = ""
    model_version: str = ""
    cost: str = ""
    skills: Sequence[str] = ()
    excluded: Sequence[str] = ()
    request_id: str = ""
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Expected:
    """What is right for a golden item. `wrong` says that the proposal is wrong on purpose: approving it is the
    mistake that the measure of automation bias counts."""

    verdict: Verdict
    value: Json = None
    wrong: bool = False


@dataclass(frozen=True, slots=True)
class Item:
    """An item without its content. `version` grows with every change that a reviewer should know before deciding.

    `needed` persons decide, `votes` have; `holders` have a lease. `level` counts escalations. `matched` names the
    rules that sent it here. `due_at` is when it is escalated, `expires_at` when the declared default takes effect.
    `undo_until` is set while a decision can still be taken back.
    """

    id: str
    queue: str
    key: str
    title: str
    status: Status
    priority: Priority
    level: int
    version: int
    author: str
    assignee: str
    holders: Sequence[str]
    needed: int
    votes: int
    adjudicating: bool
    blind: bool
    skills: Sequence[str]
    matched: Sequence[str]
    model: str
    model_version: str
    request_id: str
    opened_at: datetime
    warn_at: datetime
    due_at: datetime
    expires_at: datetime
    warned: bool
    deferred_until: datetime | None
    undo_until: datetime | None
    decided_at: datetime | None
    verdict: Verdict | None


@dataclass(frozen=True, slots=True)
class Mark:
    """One thing that happened to an item; `note` holds no content."""

    at: datetime
    kind: str
    by: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Case:
    """An item as this reader sees it.

    `shown` is the document: input, proposal, question, explanation, sources, model, model_version, cost, prior
    (decisions that the reader may know of), similar (decided cases), notes. `digest` is the SHA-256, in hex, of its
    canonical JSON (RFC 8785): a decision names it. `masked` are JSON pointers of fields that this reader may not
    see. `token` and `leased_until` are set for the holder of a lease. `reasons` are the codes that the queue accepts,
    by verdict; none: any.
    """

    item: Item
    shown: dict[str, Any]
    digest: str
    masked: Sequence[str]
    history: Sequence[Mark]
    reasons: dict[Verdict, Sequence[str]]
    token: int | None = None
    leased_until: datetime | None = None
    outcome: Outcome | None = None


@dataclass(frozen=True, slots=True)
class Opened:
    """What became of a draft: an item, or none because no rule asked for a person."""

    item: Item | None
    matched: Sequence[str] = ()
    created: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a caller is told who asked. `pending`: nobody has decided yet. `not_needed`: no rule asked for a person,
    and `value` is the proposal. `decided` and `expired` carry the outcome."""

    state: Literal["not_needed", "pending", "decided", "expired"]
    item: str = ""
    value: Any = None
    outcome: Outcome | None = None

    @property
    def approved(self) -> bool:
        """Whether a person approved the proposal, as it was or edited."""
        return self.outcome is not None and self.outcome.verdict in ("approve", "edit")
