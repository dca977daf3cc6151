"""Evaluation of flags: pure and in process. What can be checked is checked before a flag is used."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Self, assert_never

import msgspec

from ..errors import InvalidInput
from ..values import Json
from . import semver
from .contract import Condition, Evaluation, Flag, Reason
from .split import check_shares, choose

# Flags that hang on flags that hang on flags are not understood by anybody; it also bounds an evaluation.
DEEPEST = 5


def flags_from(declaration: Sequence[Mapping[str, Json]]) -> tuple[Flag, ...]:
    """Flags from plain JSON values. Raises InvalidInput with the place of the first fault."""
    try:
        return msgspec.convert(declaration, tuple[Flag, ...])
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the flags are not valid: {error}") from error


class FlagSet:
    """Flags that may refer to each other. Raises InvalidInput for one that makes no sense by itself."""

    def __init__(self, flags: Iterable[Flag] = ()) -> None:
        self.flags: Mapping[str, Flag] = {flag.key: flag for flag in flags}
        for flag in self.flags.values():
            _check(flag)

    def check(self) -> Self:
        """These flags. Raises InvalidInput if a prerequisite is missing, in a circle or too deep."""
        for key in self.flags:
            self._check_needs(key, DEEPEST)
        return self

    def evaluate(
        self, key: str, attributes: Mapping[str, Json], *, now: datetime, deepest: int = DEEPEST
    ) -> Evaluation:
        """The flag's value for these attributes at this time; never raises.

        A prerequisite that is missing or more than `deepest` away counts as failed.
        """
        flag = self.flags.get(key)
        if flag is None:
            return Evaluation(key, None, None, "ERROR", "FLAG_NOT_FOUND")
        if flag.killed:
            return _serve(flag, flag.off or flag.default, "DISABLED")
        for needed in flag.prerequisites:
            other = self.evaluate(needed.key, attributes, now=now, deepest=deepest - 1) if deepest else None
            if other is None or other.variant not in needed.variants:
                return _serve(flag, flag.off or flag.default, "DEFAULT")
        for rule in flag.rules:
            if all(_holds(condition, attributes, now) for condition in rule.when):
                if rule.serve is not None:
                    return _serve(flag, rule.serve, "TARGETING_MATCH")
                return _split(flag, rule.split or {}, attributes)
        if flag.split is not None:
            return _split(flag, flag.split, attributes)
        return _serve(flag, flag.default, "DEFAULT" if flag.rules or flag.prerequisites else "STATIC")

    def _check_needs(self, key: str, deepest: int) -> None:
        for needed in self.flags[key].prerequisites:
            other = self.flags.get(needed.key)
            if other is None or not set(needed.variants) <= other.variants.keys():
                raise InvalidInput(f"flag {key} needs a flag or variant that does not exist: {needed.key}")
            if deepest == 0:
                raise InvalidInput(f"the prerequisites of flag {key} go in a circle or more than {DEEPEST} deep")
            self._check_needs(needed.key, deepest - 1)


def _serve(flag: Flag, variant: str, reason: Reason) -> Evaluation:
    return Evaluation(flag.key, flag.variants[variant], variant, reason, None, flag.version)


def _split(flag: Flag, shares: Mapping[str, float], attributes: Mapping[str, Json]) -> Evaluation:
    unit = attributes.get(flag.by)
    if not isinstance(unit, str | int) or isinstance(unit, bool) or unit == "":
        value = flag.variants[flag.default]
        return Evaluation(flag.key, value, None, "ERROR", "TARGETING_KEY_MISSING", flag.version)
    return _serve(flag, choose(flag.salt or flag.key, str(unit), shares), "SPLIT")


def _holds(condition: Condition, attributes: Mapping[str, Json], now: datetime) -> bool:
    given = attributes.get(condition.attribute)
    if given is None and condition.attribute == "now":
        given = now.isoformat()
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    match condition.op:
        case "equals" | "in":
            # In Python True equals 1; for a reader of a flag it does not.
            return any(given == value and isinstance(given, bool) == isinstance(value, bool) for value in values)
        case "prefix":
            return isinstance(given, str) and given.startswith(tuple(v for v in values if isinstance(v, str)))
        case "semver":
            return isinstance(given, str) and any(isinstance(v, str) and semver.within(given, v) for v in values)
        case "before" | "after":
            moment, bound = _moment(given), _moment(values[0])
            if moment is None or bound is None:
                return False
            return moment < bound if condition.op == "before" else moment > bound
        case _:
            assert_never(condition.op)


def _moment(value: Json) -> datetime | None:
    try:
        moment = datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        return None
    return moment if moment is not None and moment.tzinfo is not None else None


def _check(flag: Flag) -> None:
    if not 0 < len(flag.key) <= 200 or len(flag.variants) == 0:
        raise InvalidInput("a flag needs a key of 1 to 200 characters and a variant")
    named = {flag.default} | ({flag.off} if flag.off is not None else set())
    for shares in [rule.split for rule in flag.rules] + [flag.split]:
        if shares is not None:
            check_shares(shares)
            named |= shares.keys()
    for rule in flag.rules:
        if (rule.serve is None) == (rule.split is None):
            raise InvalidInput(f"a rule of flag {flag.key} must either serve one variant or split")
        named |= {rule.serve} if rule.serve is not None else set()
        for condition in rule.when:
            _check_condition(flag, condition)
    if unknown := sorted(named - flag.variants.keys()):
        raise InvalidInput(f"flag {flag.key} names variants it does not have: {', '.join(unknown)}")


def _check_condition(flag: Flag, condition: Condition) -> None:
    values = condition.value if isinstance(condition.value, tuple) else (condition.value,)
    several = condition.op in ("in", "prefix")
    ok = len(values) >= 1 if several else len(values) == 1
    if condition.op in ("prefix", "semver", "before", "after"):
        ok = ok and all(isinstance(value, str) for value in values)
    if condition.op == "semver":
        ok = ok and semver.parse_range(str(values[0])) is not None
    if condition.op in ("before", "after"):
        ok = ok and _moment(values[0]) is not None
    if not ok:
        raise InvalidInput(f"flag {flag.key} compares {condition.attribute} {condition.op} with a value of no use")
