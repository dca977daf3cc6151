"""Finds what a text holds: every recogniser over it, and of stretches that overlap the one that counts."""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence

from ..contract.privacy import SENSITIVITIES, PrivacySpec
from . import recognisers
from .recognisers import Recogniser, Span

_LONGEST = 2_000_000
# In text that is JSON itself, as tools give and models write it. The letter of an escape is no letter of a word.
_ESCAPE = re.compile(r"\\(?:[bfnrt]|u00(?:[01][0-9A-Fa-f]|20|[Aa]0))")
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
            found = [_behind_escape(span, text) for span in found] + self._found(
                _ESCAPE.sub(lambda escape: " " * len(escape[0]), text)
            )
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


def _behind_escape(span: Span, text: str) -> Span:
    """The stretch without the letter of an escape that was taken for its first one."""
    escape = _ESCAPE.match(text, span.start - 1) if span.start else None
    return span if escape is None or escape.end() >= span.end else span._replace(start=escape.end())
