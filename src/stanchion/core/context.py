"""Who calls, for whom, until when and at what cost: the first argument of every contract method."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

Sensitivity = Literal["public", "internal", "confidential", "restricted"]
EffectKind = Literal["read", "write", "outward"]


@dataclass(frozen=True, slots=True)
class Rights:
    """What a caller may do: roles name bundles that policies define, scopes name single actions.

    A scope is `module:verb`, `module:*` or `*`. Roles and scopes add up; `limit` bounds them both: what no
    scope of it covers is denied whatever role permits it. Rights travel with the call and never grow on the way.
    """

    roles: frozenset[str] = frozenset()
    scopes: frozenset[str] = frozenset()
    limit: frozenset[str] | None = None

    def narrowed(self, scopes: frozenset[str]) -> Rights:
        """These rights, limited to what `scopes` cover as well."""
        if self.limit is None:
            return replace(self, limit=scopes)
        both = {a for a in self.limit if any(scope_covers(b, a) for b in scopes)}
        both |= {b for b in scopes if any(scope_covers(a, b) for a in self.limit)}
        return replace(self, limit=frozenset(both))


def scope_covers(wide: str, narrow: str) -> bool:
    """Whether every action that scope `narrow` names is named by scope `wide` too."""
    return wide in ("*", narrow) or (wide.endswith(":*") and narrow.startswith(wide[:-1]))


def _ordered(random_digits: str) -> str:
    """12 hex digits of the time in milliseconds, then the given ones.

    Ids that grow with time are appended to an index instead of scattered over it (compare UUIDv7, RFC 9562):
    a ledger row then costs less than half.
    """
    return f"{time.time_ns() // 1_000_000:012x}{random_digits}"


@dataclass(frozen=True, slots=True)
class Trace:
    """W3C Trace Context: 32 and 16 lower-case hex digits, and whether spans are kept."""

    trace_id: str
    span_id: str
    sampled: bool = False

    @classmethod
    def new(cls, *, sampled: bool | Callable[[str], bool] = False) -> Trace:
        """A trace that begins here; `sampled` may be a rule, which is given the trace id."""
        # Names and no secrets, so no call to the kernel. Python seeds its generator anew after a fork.
        digits = f"{random.getrandbits(144):036x}"
        trace_id = _ordered(digits[:20])
        return cls(trace_id, digits[20:], sampled if isinstance(sampled, bool) else sampled(trace_id))


def new_request_id() -> str:
    """24 hex digits that no other request has, in the order of time."""
    return _ordered(f"{random.getrandbits(48):012x}")


@dataclass(frozen=True, slots=True)
class Budget:
    """The most a call may use; None is no limit. Cost is in US dollars, as a decimal fraction."""

    cost: float | None = None
    tokens: int | None = None
    steps: int | None = None


@dataclass(slots=True)
class Effect:
    """The change a gated call is about to make, as the audit log will tell it.

    The gate makes it, the service adds facts with `note`, and the database records it in the very
    transaction of the change. Facts are names, versions and counts: never personal data or secrets.
    """

    action: str
    kind: EffectKind
    resource: str
    tenant: str
    principal: str
    request_id: str
    trace_id: str
    facts: dict[str, str | int | float | bool | None] = field(default_factory=dict)
    recorded: int = 0

    def note(self, **facts: str | int | float | bool | None) -> None:
        """Add facts that the audit event will hold."""
        self.facts.update(facts)


@dataclass(frozen=True, slots=True)
class Context:
    """One call's caller and limits. Immutable: a narrower Context is a new one.

    `deadline` is in seconds of the process's monotonic clock (None: no limit); between processes the
    time left travels instead. `labels` are the sensitivity classes of the data the call has touched.
    """

    tenant: str
    principal: str
    rights: Rights = Rights()
    deadline: float | None = None
    budget: Budget = Budget()
    trace: Trace = field(default_factory=Trace.new)
    labels: frozenset[Sensitivity] = frozenset()
    request_id: str = field(default_factory=new_request_id)
    effect: Effect | None = None

    def until(self, deadline: float) -> Context:
        """This Context with the earlier of its own deadline and `deadline`."""
        if self.deadline is not None and self.deadline <= deadline:
            return self
        # Made by hand, for a third of what `replace` costs: every rung of a ladder has a limit of its own.
        whose = (self.tenant, self.principal, self.rights)
        return Context(*whose, deadline, self.budget, self.trace, self.labels, self.request_id, self.effect)

    def labelled(self, *labels: Sensitivity) -> Context:
        """This Context with `labels` added: sensitivity only ever grows along a call."""
        return replace(self, labels=self.labels | frozenset(labels))

    def within(self, effect: Effect) -> Context:
        """This Context inside an audited effect."""
        return replace(self, effect=effect)


def system_context(tenant: str, *, task: str, roles: frozenset[str] = frozenset({"system"})) -> Context:
    """The Context of work that no person asked for, such as a flush at shutdown; `task` names it."""
    return Context(tenant=tenant, principal=f"system:{task}", rights=Rights(roles=roles))


Facts = Mapping[str, str | int | float | bool | None]
