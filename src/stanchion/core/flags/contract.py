"""Feature flags: what a flag is, what its evaluation tells, and the door to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol

from ..context import Context
from ..contract import action
from ..values import Json

Op = Literal["equals", "in", "prefix", "semver", "before", "after"]
Reason = Literal["TARGETING_MATCH", "SPLIT", "DISABLED", "DEFAULT", "STATIC", "ERROR"]
Fault = Literal["FLAG_NOT_FOUND", "TARGETING_KEY_MISSING"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Condition:
    """One test of an attribute; an absent attribute or one of another type fails it.

    `in` and `prefix` take several values. `semver` takes a range. `before` and `after` compare ISO 8601 times with an
    offset; the attribute `now` is the time of the evaluation.
    """

    attribute: str
    op: Op
    value: str | int | float | bool | tuple[str | int | float | bool, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What to serve when all conditions hold: one variant, or a split of variants by weight."""

    when: tuple[Condition, ...]
    serve: str | None = None
    split: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Prerequisite:
    """Another flag that must evaluate to one of these variants."""

    key: str
    variants: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Flag:
    """A flag. `killed` wins over everything and serves `off` (None: the default), as does a failed prerequisite.

    The first rule that holds decides, then `split`, then `default`. Splits are by the attribute `by`, under `salt`
    (empty: the key). `version` counts the stored changes of a tenant; 0 is a declared flag.
    """

    key: str
    variants: Mapping[str, Json]
    default: str
    off: str | None = None
    killed: bool = False
    rules: tuple[Rule, ...] = ()
    split: Mapping[str, float] | None = None
    prerequisites: tuple[Prerequisite, ...] = ()
    by: str = "targeting_key"
    salt: str = ""
    version: int = 0


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A flag's value for one caller and why; with reason ERROR, `error` says what was wrong.

    The value is then the default variant's, or None for an unknown flag.
    """

    key: str
    value: Json
    variant: str | None
    reason: Reason
    error: Fault | None = None
    version: int = 0


class Flags(Protocol):
    """Flags of the caller's tenant: those declared with the system, as changed by the tenant at run time.

    A change holds in this process when the call returns, in others after their next refresh.
    """

    @action("flags:evaluate", effect="read", resource="Flag")
    async def evaluate(
        self, ctx: Context, keys: Sequence[str], attributes: Mapping[str, Json] | None = None
    ) -> Sequence[Evaluation]:
        """One evaluation for each key, in order. The attribute `targeting_key` is the principal unless given."""
        ...

    @action("flags:read", effect="read", resource="Flag")
    async def list(self, ctx: Context) -> Sequence[Flag]:
        """Every flag, by key."""
        ...

    @action("flags:write", effect="write", resource="Flag", by="key")
    async def set(self, ctx: Context, key: str, flag: Flag) -> Flag:
        """Store the flag with the next version.

        `flag.version` is the version it was made from. Raises Conflict if that is not the present one, InvalidInput
        if the flag or its prerequisites make no sense.
        """
        ...

    @action("flags:write", effect="write", resource="Flag", by="key")
    async def kill(self, ctx: Context, key: str, on: bool) -> Flag:
        """Switch the flag off (True) or back on, whatever its version. Raises NotFound."""
        ...
