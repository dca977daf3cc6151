"""What `system.py` declares of a queue: which proposals go to people, who may decide them, and within what time."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from ...core.errors import Misconfigured
from ...core.values import Json
from .decisions import Verdict
from .items import Draft, Priority

_NAME = re.compile(r"[a-z][a-z0-9_-]{0,63}")
Predicate = Callable[[Draft], bool]


@dataclass(frozen=True, slots=True)
class LowConfidence:
    """The confidence is below the bound, or is not told: an unknown confidence is no high one."""

    below: float


@dataclass(frozen=True, slots=True)
class HighUncertainty:
    """The uncertainty is above the bound, or is not told."""

    above: float


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Models, or samples of one, differ by more than the bound, or nobody compared them."""

    above: float


@dataclass(frozen=True, slots=True)
class RandomSample:
    """This share of all proposals, whatever they are; the same proposal is always in or always out."""

    share: float


@dataclass(frozen=True, slots=True)
class PolicyDemands:
    """A policy of one of these names demands a person; without names, any policy."""

    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class DriftSlice:
    """The input belongs to one of these parts of the data, for instance because it drifts."""

    names: frozenset[str]


@dataclass(frozen=True, slots=True)
class When:
    """A function of the draft says so. One that fails counts as yes."""

    name: str
    test: Predicate


Rule: TypeAlias = LowConfidence | HighUncertainty | Disagreement | RandomSample | PolicyDemands | DriftSlice | When


@dataclass(frozen=True, slots=True)
class Sla:
    """Seconds from opening until a warning, an escalation, and the declared default."""

    warn: float
    escalate: float
    expire: float

    def __post_init__(self) -> None:
        if not 0 < self.warn < self.escalate < self.expire:
            raise Misconfigured(f"a service level needs 0 < warn < escalate < expire, not {self}")


_HOUR = 3600.0
SLAS: Mapping[Priority, Sla] = {
    "urgent": Sla(0.25 * _HOUR, 0.5 * _HOUR, 4 * _HOUR),
    "high": Sla(1 * _HOUR, 2 * _HOUR, 24 * _HOUR),
    "normal": Sla(4 * _HOUR, 8 * _HOUR, 72 * _HOUR),
    "low": Sla(24 * _HOUR, 48 * _HOUR, 168 * _HOUR),
}
Notify = Literal["opened", "warned", "escalated", "expired", "decided"]


@dataclass(frozen=True, slots=True)
class ReviewSpec:
    """A queue of proposals for people.

    Without rules every proposal is reviewed. `reviewers` distinct persons decide each item, a `double` share of the
    items by two who do not see each other's decision; where they differ, a third adjudicates. `four_eyes`: an
    approval needs a second person. `blind` hides what others have decided. `skills` are needed by all items.

    `roles` may decide (none: whoever has the permission); `seniors` are the roles that take escalated items and
    adjudicate (none: any other person). `mask` maps JSON pointers of the shown document, such as `/input/name` (`*`
    stands for any member), to the roles and scopes that may see them.

    `at_expiry` is what is decided when nobody did: `reject`, or `escalate`, which leaves the item open at the next
    level; never an approval. A decision can be taken back for `undo` seconds, before anybody hears of it. An item that
    is pushed to a person waits `offer` seconds for that person. `similar` decided cases are shown.

    `keep_days` after it ended an item is removed with its content, its decisions and what was shown; None keeps it for
    ever. The audit log tells of each removal. Versions of the data set that hold it can be exported no more.

    `notify` are addresses of the notification channel, told of `notify_on`. `check` raises ValueError for an edited
    proposal that will not do.
    """

    name: str
    rules: Sequence[Rule] = ()
    reviewers: int = 1
    double: float = 0.0
    four_eyes: bool = False
    blind: bool = False
    assign: Literal["pull", "push"] = "pull"
    offer: float = 900.0
    skills: frozenset[str] = frozenset()
    roles: frozenset[str] = frozenset()
    seniors: frozenset[str] = frozenset()
    lease: float = 300.0
    sla: Mapping[Priority, Sla] = field(default_factory=lambda: SLAS)
    at_expiry: str = "reject"
    undo: float = 0.0
    reasons: Mapping[Verdict, Sequence[str]] = field(default_factory=dict)
    mask: Mapping[str, frozenset[str]] = field(default_factory=dict)
    similar: int = 3
    keep_days: float | None = None
    notify: Sequence[str] = ()
    notify_on: Sequence[Notify] = ("warned", "escalated", "expired")
    check: Callable[[Json], object] | None = None

    def __post_init__(self) -> None:
        faults = [fault for holds, fault in _checks(self) if not holds]
        if faults:
            raise Misconfigured(f"the review queue {self.name}: {'; '.join(faults)}")


def _checks(spec: ReviewSpec) -> Sequence[tuple[bool, str]]:
    bounds = [rule.share for rule in spec.rules if isinstance(rule, RandomSample)]
    return (
        (bool(_NAME.fullmatch(spec.name)), "a name is a-z, 0-9, _ and -, a letter first, at most 64"),
        (1 <= spec.reviewers <= 9, "reviewers is 1 to 9"),
        (0 <= spec.double <= 1, "double is a share of 0 to 1"),
        (all(0 < share <= 1 for share in bounds), "a random sample is a share above 0 and at most 1"),
        (spec.at_expiry in ("reject", "escalate"), "at expiry an item is rejected or escalated, never approved"),
        (set(spec.sla) == set(SLAS), f"sla names each priority: {', '.join(SLAS)}"),
        (all(isinstance(each, Sla) for each in spec.sla.values()), "sla gives an Sla for each priority"),
        (1 <= spec.lease <= 86_400, "lease is 1 to 86,400 seconds"),
        (0 <= spec.undo <= 86_400, "undo is 0 to 86,400 seconds"),
        (spec.offer > 0, "offer is above 0 seconds"),
        (0 <= spec.similar <= 20, "similar is 0 to 20"),
        (spec.keep_days is None or 0 < spec.keep_days <= 36_500, "keep_days is above 0 and at most 36,500, or None"),
        (all(pointer.startswith("/") for pointer in spec.mask), "a mask is a JSON pointer such as /input/name"),
    )
