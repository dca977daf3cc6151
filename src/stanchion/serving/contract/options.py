"""What `system.py` may declare of how a model is served, besides what answers: every part is optional.

A part that is not declared costs its model nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.errors import Misconfigured
from ...core.values import Json
from .rollouts import RolloutPlan

Missing = Literal["error", "default", "next_rung"]
Embed = Callable[[Sequence[str]], Sequence[Sequence[float]] | Awaitable[Sequence[Sequence[float]]]]


@dataclass(frozen=True, slots=True)
class Similar:
    """Texts count as the same input where their embeddings point the same way.

    `embed` turns texts into vectors, in order; it may be async. `least` is the cosine from which the stored answer is
    given, 0 to 1.
    """

    field: str
    embed: Embed
    least: float = 0.97

    def __post_init__(self) -> None:
        if not 0 < self.least <= 1:
            raise Misconfigured(f"the least cosine of {self.field} must be above 0 and at most 1, not {self.least}")


@dataclass(frozen=True, slots=True)
class Cache:
    """Answers of the model's first rung are kept for `ttl` seconds, at most `entries` of them.

    Without more, an answer is given again for an equal input. `ignore` names fields that the answer does not hang on,
    such as an identifier. `near` maps numeric fields to a tolerance: the nearest stored input within all of them
    answers. `similar` does that for one text. All other fields must be equal. `by_rights` keeps callers with other
    rights apart; callers of other tenants always are.
    """

    ttl: float = 60.0
    entries: int = 10_000
    ignore: Sequence[str] = ()
    near: Mapping[str, float] = field(default_factory=dict)
    similar: Similar | None = None
    by_rights: bool = False

    def __post_init__(self) -> None:
        if self.ttl <= 0 or self.entries < 1:
            raise Misconfigured("a cache needs ttl > 0 and entries >= 1")
        if any(not tolerance > 0 for tolerance in self.near.values()):
            raise Misconfigured("a tolerance of `near` must be above 0; leave the field out to compare it exactly")
        if self.near and self.similar is not None:
            raise Misconfigured("a cache compares by `near` or by `similar`, not by both")


@dataclass(frozen=True, slots=True)
class Batch:
    """Calls that wait together are one run of the model: at most `size` instances in it.

    A run takes what waits when it begins; `wait_ms` lets it wait for more, which only pays for a model whose runs
    cost far more than the wait. `waiting` instances may queue, and a call that would queue for longer than
    `most_wait_ms` is refused with the time to come back (429 where no other rung answers). `workers` is the number of
    runs at once. While as much waits as one run takes, the next run of a graph or plain function is made up already,
    so that the engine never idles: a call that comes then waits for one run more than those before it.
    """

    size: int = 32
    wait_ms: float = 0.0
    waiting: int = 10_000
    most_wait_ms: float = 1_000.0
    workers: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.waiting < 1 or self.workers < 1 or self.wait_ms < 0 or self.most_wait_ms <= 0:
            raise Misconfigured("a batch needs size, waiting and workers >= 1, wait_ms >= 0 and most_wait_ms > 0")


@dataclass(frozen=True, slots=True)
class Review:
    """Answers that a person should look at: those for which `when(instance, outcome)` is true.

    They are marked, and given all the same. `when` may take the looked-up features as a third parameter. With `queue`,
    the name of a declared review queue, each is opened there as well.
    """

    when: Callable[..., bool]
    reason: str = ""
    queue: str = ""


@dataclass(frozen=True, slots=True)
class Keep:
    """What is kept of each answer in the prediction journal, so that feedback finds it.

    `share` of the calls is kept, whole calls at a time. `omit` names input fields that are not stored at all. Fields
    whose role is `identifier` are stored as a keyed digest. What is stored is sealed with the tenant's key.
    """

    share: float = 1.0
    omit: Sequence[str] = ()

    def __post_init__(self) -> None:
        if not 0 <= self.share <= 1:
            raise Misconfigured(f"the share of answers to keep is 0 to 1, not {self.share}")


@dataclass(frozen=True, slots=True)
class LastGood:
    """The model's last good answer for the same input is a rung of its own, below the rule: `cached`.

    It is given while it is at most `most_age` seconds old, and says its age. `by` names the fields that make two inputs
    the same one, such as a customer's number; without them all fields do.
    """

    most_age: float = 3600.0
    entries: int = 10_000
    by: Sequence[str] = ()

    def __post_init__(self) -> None:
        if self.most_age <= 0 or self.entries < 1:
            raise Misconfigured("last good answers need most_age > 0 and entries >= 1")


@dataclass(frozen=True, slots=True)
class Hedge:
    """A second attempt where a rung takes longer than `after` seconds: the first answer wins, the other is cancelled.

    `on` is the next rung, or the same one again where that reaches another replica.
    """

    after: float
    on: Literal["next", "same"] = "next"

    def __post_init__(self) -> None:
        if self.after <= 0:
            raise Misconfigured(f"a hedge waits longer than 0 seconds, not {self.after}")


@dataclass(frozen=True, slots=True)
class Lookup:
    """Features that are looked up and put beside the fields of the request before the model runs.

    `entities` maps each entity key of the feature service to the request field that holds it. `fields` are the
    features that the model reads, by the service's own names; of a registered version they stand in its package.
    `request` names the request fields that the service's transforms take. `stale` and `unknown` say what happens
    where there is no present value: `error` refuses the instance, `default` takes the declared one of `defaults`,
    `next_rung` leaves the instance to the rungs that read no features. `logged` is the share of calls whose vectors
    are kept for the skew monitor.
    """

    service: str
    entities: Mapping[str, str]
    fields: Sequence[str] = ()
    request: Sequence[str] = ()
    stale: Missing = "error"
    unknown: Missing = "error"
    defaults: Mapping[str, Json] = field(default_factory=dict)
    logged: float = 1.0
    timeout_ms: float = 200.0

    def __post_init__(self) -> None:
        if not 0 <= self.logged <= 1 or self.timeout_ms <= 0:
            raise Misconfigured(f"the lookup of {self.service} needs logged from 0 to 1, and timeout_ms > 0")


@dataclass(frozen=True, slots=True)
class Options:
    """All of them. `rules` are asked in order after the model: `rule(instance, outcome)` gives another outcome, or
    None to leave it; the answer says which rule overruled it. A rule of three parameters is given the looked-up
    features as well, by name, and none of them where an instance has none. `hedges` are second attempts by rung.
    `rollout` begins by itself when a newer version reaches staging. `human` names the review queue in which people are
    asked where no rung above the default answers."""

    features: Lookup | None = None
    cache: Cache | None = None
    batch: Batch | None = None
    rules: Sequence[Callable[..., Any]] = ()
    review: Review | None = None
    journal: Keep | None = None
    last_good: LastGood | None = None
    hedges: Mapping[str, Hedge] = field(default_factory=dict)
    rollout: RolloutPlan | None = None
    human: str = ""

    @property
    def asks_people(self) -> bool:
        """Whether a review queue is named anywhere."""
        return bool(self.human or (self.review is not None and self.review.queue))


NO_OPTIONS = Options()
