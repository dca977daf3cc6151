"""Reviewers, how good their work is, and the data sets that it leaves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class Reviewer:
    """A person who decides. `capacity` is the most items held at once; `away` gets nothing pushed.

    A principal without an entry may decide as well, with no skills and the usual capacity.
    """

    principal: str
    skills: Sequence[str] = ()
    queues: Sequence[str] = ()
    capacity: int = 10
    away: bool = False


@dataclass(frozen=True, slots=True)
class QueueView:
    """A queue and how it stands. `oldest_at` is when the oldest undecided item was opened."""

    name: str
    open: int
    claimed: int
    waiting: int
    deferred: int
    settling: int
    decided: int
    expired: int
    warned: int
    escalated: int
    oldest_at: datetime | None
    skills: Sequence[str]
    declared: bool = True


@dataclass(frozen=True, slots=True)
class Agreement:
    """How far reviewers agree on the verdicts of items that several decided without seeing each other's decision.

    Each figure is 1 for full agreement and about 0 for chance; None where it is not defined (fewer than two items,
    or nothing but one verdict). `cohen` is for the one pair of reviewers who share the most items.
    """

    items: int
    observed: float | None
    cohen: float | None
    cohen_pair: Sequence[str]
    fleiss: float | None
    alpha_nominal: float | None


@dataclass(frozen=True, slots=True)
class ReviewerFigures:
    """One reviewer's work. `accuracy` is the share of golden items decided rightly; `bias` the share of proposals
    wrong on purpose that were approved; `seconds` the median time from lease to decision."""

    principal: str
    decisions: int
    approve: int
    edit: int
    reject: int
    escalate: int
    seconds: float | None
    golden: int
    accuracy: float | None
    seeded: int
    bias: float | None
    overruled: int


@dataclass(frozen=True, slots=True)
class Statistics:
    """A queue's figures over the items opened since a moment, at most `LARGEST` of the newest."""

    queue: str
    since: datetime | None
    items: int
    decided: int
    expired: int
    escalated: int
    verdicts: Mapping[str, int]
    reasons: Mapping[str, int]
    seconds_to_decision: float | None
    seconds_p90: float | None
    accuracy: float | None
    bias: float | None
    agreement: Agreement
    reviewers: Sequence[ReviewerFigures]


@dataclass(frozen=True, slots=True)
class DatasetVersion:
    """A version of a queue's corrections. `sha256` is of the JSON lines that `export` gives for it."""

    queue: str
    version: int
    rows: int
    sha256: str
    at: datetime
    by: str
