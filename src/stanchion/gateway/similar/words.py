"""The second look at two questions whose vectors are near: what vectors do not tell apart, words do.

"Refunds in 2024" lies next to "refunds in 2025", and "how do I enable it" next to "how do I disable it". The words are
English; in another language the numbers and names are still compared, and the near zone needs a model to check.
"""

from __future__ import annotations

import re

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)?")
_NUMBER = re.compile(r"\d+(?:[.,:/-]\d+)*")
_QUOTED = re.compile(r"[\"\u201c\u2018`]([^\"\u201d\u2019`]+)[\"\u201d\u2019`]")
_NOT = frozenset(
    _WORD.findall(
        "not no never none nothing without cannot can't don't doesn't isn't aren't won't shouldn't except unless"
    )
)
_OPPOSITE = frozenset(
    _WORD.findall(
        "enable disable start stop open close off add remove install uninstall buy sell before after "
        "first last increase decrease maximum minimum max min highest lowest most least import export "
        "upload download send receive up down best worst join leave allow deny create delete show hide "
        "old new he she his her cheapest dearest"
    )
)
_DIRECTED = frozenset(_WORD.findall("to from than into over under against per by"))
_COMMON = frozenset(
    _WORD.findall(
        "a an and are as at be been but by can could did do does for from had has have how i if in into "
        "is it its me my of on or our please so tell than that the their them then there these they this "
        "to was we were what what's when where which who whom whose why will with would you your about "
        "i'm i'd explain describe give know want need"
    )
)


def differ(one: str, other: str) -> bool:
    """Whether the questions have other numbers, negations, opposites, quotations, names or directions: then they never
    match.
    """
    if _marks(one) != _marks(other) or _turned(one, other):
        return True
    words = _words(one), _words(other)
    return not (_names(one) <= words[1] and _names(other) <= words[0])


def same_words(one: str, other: str) -> bool:
    """Whether the questions have the same words, but for common ones, plurals and their order."""
    return _content(one) == _content(other)


def _marks(text: str) -> tuple[frozenset[str], ...]:
    words = _words(text)
    numbers = frozenset(_NUMBER.findall(text))
    quoted = frozenset(part.lower() for part in _QUOTED.findall(text))
    return numbers, quoted, _NOT & words, words & _OPPOSITE


def _turned(one: str, other: str) -> bool:
    """Whether what stands before and after a word of direction has changed places, as in "miles to kilometres"."""
    first, second = ([word for word in _WORD.findall(text.lower()) if word not in _COMMON] for text in (one, other))
    directed = _DIRECTED & _words(one) and _DIRECTED & _words(other)
    return bool(directed) and first != second and sorted(first) == sorted(second)


def _words(text: str) -> frozenset[str]:
    return frozenset(_WORD.findall(text.lower().replace("\u2019", "'")))


def _names(text: str) -> frozenset[str]:
    """Words with a capital that do not begin a sentence."""
    found = set()
    for match in _WORD.finditer(text):
        before = text[: match.start()].rstrip()
        if match[0][0].isupper() and match[0] != "I" and before and before[-1] not in ".!?":
            found.add(match[0].lower())
    return frozenset(found)


def _content(text: str) -> frozenset[str]:
    return frozenset(word.rstrip("s") for word in _words(text) - _COMMON)
