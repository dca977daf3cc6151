"""Decisions: what a reviewer submits, and what is decided in the end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from ...core.values import Json

Verdict = Literal["approve", "edit", "reject", "escalate"]


@dataclass(frozen=True, slots=True)
class Submission:
    """One decision on one item.

    `version`, `digest` and `token` are those of the Case that the reviewer holds; what does not fit is refused. For
    `edit`, `value` is the whole corrected proposal, or `patch` the change to it (JSON Patch, RFC 6902). `reason` is a
    code of the queue.
    """

    item: str
    version: int
    digest: str
    token: int
    verdict: Verdict
    reason: str = ""
    note: str = ""
    value: Json = None
    patch: Sequence[dict[str, Json]] | None = None


@dataclass(frozen=True, slots=True)
class Outcome:
    """What is decided. `value` is the proposal, edited or not; None where it is rejected.

    `by` are the persons whose decisions it rests on, none at expiry. `digests` are of what each of them saw, in the
    same order. `patch` is the change to the proposal (RFC 6902). `expired`: nobody decided in time, and this is the
    declared default, which is never an approval.
    """

    verdict: Verdict
    value: Any
    by: Sequence[str]
    digests: Sequence[str]
    reason: str
    note: str
    patch: Sequence[dict[str, Json]]
    at: datetime
    expired: bool = False


@dataclass(frozen=True, slots=True)
class Settled:
    """What became of a submission: the item's present state, or the problem document of what was refused."""

    item: str
    status: str = ""
    version: int = 0
    verdict: Verdict | None = None
    error: Mapping[str, Any] | None = None
