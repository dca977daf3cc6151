"""Semantic version ranges for targeting: `>=1.2 <3`, `^1.4.0`, `~2.1`, alternatives with `||`.

Order and syntax: Semantic Versioning 2.0.0, section 11. A caret keeps the leftmost number that is not 0, a tilde
the minor one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from operator import eq, ge, gt, le, lt
from typing import NamedTuple

_NUMBER = r"([0-9]{1,9})"
_VERSION = re.compile(rf"v?{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?(?:-([0-9A-Za-z.-]{{1,64}}))?(?:\+[0-9A-Za-z.-]+)?")
_PART = re.compile(r"(>=|<=|>|<|=|\^|~)?(\S+)")
_RELEASE = (2, 0, "")
_COMPARE: dict[str, Callable[[Version, Version], bool]] = {">=": ge, "<=": le, ">": gt, "<": lt, "=": eq}


class Version(NamedTuple):
    """Sorts by precedence: in `pre` numbers are below words, and both below a release's mark."""

    numbers: tuple[int, int, int]
    pre: tuple[tuple[int, int, str], ...]


def parse(text: str) -> Version | None:
    """The version, missing numbers as 0; None if the text is none."""
    found = _VERSION.fullmatch(text)
    if found is None:
        return None
    major, minor, patch, pre = found.groups()
    parts = (_RELEASE,) if pre is None else tuple(_identifier(part) for part in pre.split("."))
    return Version((int(major), int(minor or 0), int(patch or 0)), parts)


def _identifier(text: str) -> tuple[int, int, str]:
    return (0, int(text), "") if text.isdecimal() else (1, 0, text)


@lru_cache(maxsize=1024)
def parse_range(text: str) -> tuple[tuple[tuple[str, Version], ...], ...] | None:
    """Alternatives of bounds that must all hold; None if the text is no range."""
    alternatives = []
    for side in text.split("||"):
        bounds: list[tuple[str, Version]] = []
        for sign, word in _PART.findall(side):
            version = parse(word)
            if version is None:
                return None
            bounds += _bounds(sign or "=", version)
        if not bounds:
            return None
        alternatives.append(tuple(bounds))
    return tuple(alternatives)


def _bounds(sign: str, version: Version) -> list[tuple[str, Version]]:
    major, minor, patch = version.numbers
    if sign == "~":
        end = (major, minor + 1, 0)
    elif sign == "^":
        end = (major + 1, 0, 0) if major else (0, minor + 1, 0) if minor else (0, 0, patch + 1)
    else:
        return [(sign, version)]
    # Below the end's own pre-releases too: ^1.2 does not take 2.0.0-alpha.
    return [(">=", version), ("<", Version(end, ()))]


def within(text: str, wanted: str) -> bool:
    """Whether the version is in the range; False if either cannot be read."""
    version, alternatives = parse(text), parse_range(wanted)
    if version is None or alternatives is None:
        return False
    return any(all(_COMPARE[sign](version, bound) for sign, bound in bounds) for bounds in alternatives)
