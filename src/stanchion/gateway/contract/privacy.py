"""What may leave the house: classes of sensitivity, what is looked for in a call, and what becomes of what is found."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Literal, get_args

from ...core.context import Sensitivity
from ...core.errors import Misconfigured

Known = Literal["card", "email", "iban", "ip", "phone", "secret", "ssn"]
Treatment = Literal["allow", "redact", "tokenise", "block"]

SENSITIVITIES: tuple[Sensitivity, ...] = get_args(Sensitivity)
_KIND = re.compile(r"[a-z][a-z0-9_]{0,30}")
_LABELS: Mapping[str, Sensitivity] = {
    "card": "restricted",
    "iban": "restricted",
    "secret": "restricted",
    "ssn": "restricted",
    "email": "confidential",
    "phone": "confidential",
    "ip": "confidential",
}


def highest(*labels: Sensitivity) -> Sensitivity:
    """The most sensitive of the labels; `public` if there is none."""
    return max(labels, key=SENSITIVITIES.index) if labels else "public"


@dataclass(frozen=True, slots=True, kw_only=True)
class PrivacySpec:
    """A system's rules of what may go to which upstream.

    `ask` says what becomes of each kind found in a request: it is left (`allow`: the call then goes only where its
    label may go), replaced by its kind's name (`redact`), replaced by a token that is turned back in the answer
    (`tokenise`), or the call is refused (`block`). `answer` says the same of answers, where `tokenise` has no
    meaning. Kinds are those of `Known` and the names of `patterns`, which are regular expressions of one's own.

    `labels` gives the class of each kind; a kind of one's own is `confidential` unless it says so. `declared` is the
    class of a call that declares none. `opaque` is the class of what cannot be looked into, such as pictures.
    `on_premises` are the classes that go only to upstreams marked so; `regions` are the regions to which the others
    may go, by class: where a class is not named, anywhere. `phone_regions` are ISO 3166 countries whose numbers are
    known without a country code.
    """

    ask: Mapping[str, Treatment] = field(default_factory=dict)
    answer: Mapping[str, Treatment] = field(default_factory=dict)
    patterns: Mapping[str, str] = field(default_factory=dict)
    labels: Mapping[str, Sensitivity] = field(default_factory=dict)
    declared: Sensitivity = "internal"
    opaque: Sensitivity = "confidential"
    on_premises: frozenset[Sensitivity] = frozenset({"restricted", "confidential"})
    regions: Mapping[Sensitivity, frozenset[str]] = field(default_factory=dict)
    phone_regions: tuple[str, ...] = ("US", "GB", "DE", "FR")

    def __post_init__(self) -> None:
        for name, pattern in self.patterns.items():
            if not _KIND.fullmatch(name) or name in get_args(Known):
                raise Misconfigured(f"{name!r} cannot name a pattern: a new word of a-z, 0-9 and _, please")
            _compiled(name, pattern)
        for kind in (*self.ask, *self.answer, *self.labels):
            self._check_kind(kind)
        if tokenised := [kind for kind, treatment in self.answer.items() if treatment == "tokenise"]:
            raise Misconfigured(f"answers cannot be tokenised, only requests: {', '.join(tokenised)}")
        for label in (self.declared, self.opaque, *self.on_premises, *self.regions, *self.labels.values()):
            if label not in SENSITIVITIES:
                raise Misconfigured(f"{label!r} is no sensitivity; they are {', '.join(SENSITIVITIES)}")

    @property
    def kinds(self) -> tuple[str, ...]:
        """Every kind that is looked for."""
        return (*get_args(Known), *self.patterns)

    def label(self, kind: str) -> Sensitivity:
        """The class of a kind."""
        return self.labels.get(kind, _LABELS.get(kind, "confidential"))

    def why_not(self, label: Sensitivity, *, on_premises: bool, region: str) -> str:
        """Why data of this class may not go to such an upstream; empty where it may."""
        if label in self.on_premises and not on_premises:
            return f"{label} data stays on premises"
        allowed = self.regions.get(label)
        if allowed is not None and not on_premises and region not in allowed:
            return f"{label} data stays in {', '.join(sorted(allowed))}, and this is {region or 'an unnamed region'}"
        return ""

    def _check_kind(self, kind: str) -> None:
        if kind not in self.kinds:
            near = get_close_matches(kind, self.kinds, n=1)
            hint = f"Did you mean {near[0]!r}?" if near else f"The kinds are {', '.join(self.kinds)}."
            raise Misconfigured(f"there is no kind {kind!r} to look for", next_step=hint)


def _compiled(name: str, pattern: str) -> re.Pattern[str]:
    try:
        compiled = re.compile(pattern)
    except re.error as error:
        raise Misconfigured(f"the pattern {name} is no regular expression: {error}") from error
    if compiled.match(""):
        raise Misconfigured(f"the pattern {name} matches nothing at all, and so everywhere")
    return compiled
