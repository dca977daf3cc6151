"""Finds what a text holds: every recogniser over it, and of stretches that overlap the one that counts."""

from __future__ import annotations

import logging
import re
from bisect import bisect_left
from collections.abc import Sequence
from itertools import accumulate

from ..contract.privacy import SENSITIVITIES, PrivacySpec
from . import recognisers
from .recognisers import Recogniser, Span

_LONGEST = 2_000_000
# In text that is JSON itself, as tools give and models write it. JSON within JSON has a backslash more.
_ESCAPE = re.compile(r"\\+(?:[bfnrt]|u([0-9A-Fa-f]{4}))")
log = logging.getLogger(__name__)


class Undetectable(Exception):
    """A text could not be looked through. A control signal of this package: the call counts as restricted."""


class Detector:
    """The recognisers of one system."""

    def __init__(self, spec: PrivacySpec, extra: Sequence[Recogniser] = ()) -> None:
        self._spec = spec
        self._recognisers: list[Recogniser] = [
            recognisers.secrets,
            recognisers.cards,
            recognisers.ibans,
            recognisers.social_security,
            recognisers.emails,
            recognisers.addresses,
            recognisers.phones(spec.phone_regions),
            *(recognisers.pattern(kind, expression) for kind, expression in spec.patterns.items()),
            *extra,
        ]

    def find(self, text: str) -> Sequence[Span]:
        """The stretches by place; none overlaps another. Raises Undetectable."""
        if len(text) > _LONGEST:
            raise Undetectable(f"a text of {len(text)} characters is longer than {_LONGEST}")
        found = self._found(text)
        if "\\" in text and _ESCAPE.search(text):
            escaped = _Escaped(text)
            found = [*map(escaped.trimmed, found), *map(escaped.placed, self._found(escaped.read))]
        return self._apart(found)

    def _found(self, text: str) -> list[Span]:
        found: list[Span] = []
        for recognise in self._recognisers:
            try:
                found += recognise(text)
            except Exception as error:
                # Whatever went wrong: what was not looked for may be there. The text itself is never logged.
                log.error("a recogniser failed: %s", type(error).__name__)
                raise Undetectable("a recogniser failed") from None
        return found

    def _apart(self, found: Sequence[Span]) -> Sequence[Span]:
        """Overlapping stretches as one, of the gravest kind among them: nothing that was found is left over."""
        apart: list[Span] = []
        for span in sorted(found, key=lambda each: (each.start, -each.end)):
            if apart and span.start < apart[-1].end:
                last = apart[-1]
                graver = max((last, span), key=lambda each: SENSITIVITIES.index(self._spec.label(each.kind)))
                apart[-1] = Span(graver.kind, last.start, max(last.end, span.end))
            else:
                apart.append(span)
        return apart


class _Escaped:
    """A text with escapes in it, and the same text with each of them read as one character.

    Control characters and halves of a pair are read as a blank: the letter of an escape is no letter of a word.
    """

    def __init__(self, text: str) -> None:
        found = list(_ESCAPE.finditer(text))
        self.read = _ESCAPE.sub(lambda escape: _meant(escape[1]) or " ", text)
        self._starts = [escape.start() for escape in found]
        self._ends = [escape.end() for escape in found]
        self._more = [0, *accumulate(len(escape[0]) - 1 for escape in found)]
        self._places = [start - more for start, more in zip(self._starts, self._more, strict=False)]

    def trimmed(self, span: Span) -> Span:
        """A stretch of the text without the part of an escape that was taken for its beginning."""
        before = bisect_left(self._starts, span.start)
        end = self._ends[before - 1] if before else 0
        return span._replace(start=end) if span.start < end < span.end else span

    def placed(self, span: Span) -> Span:
        """A stretch of what was read, where it stands in the text."""
        return span._replace(start=self._place(span.start), end=self._place(span.end))

    def _place(self, place: int) -> int:
        return place + self._more[bisect_left(self._places, place)]


def plain(value: str) -> str:
    """What was found, as its owner would write it: characters behind escapes are themselves."""
    return _ESCAPE.sub(lambda escape: _meant(escape[1]) or escape[0], value) if "\\" in value else value


def _meant(code: str | None) -> str:
    """The character of that number; empty for control characters and half a pair."""
    meant = chr(int(code or "0", 16))
    return "" if meant < " " or "\ud800" <= meant <= "\udfff" else meant
