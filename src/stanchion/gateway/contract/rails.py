"""Rails: checks of what goes to a model and of what it answers, that block or only flag."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from ...core.errors import Misconfigured

Side = Literal["ask", "answer"]
OwnFinding = str | None
OwnCheck = Callable[[str], OwnFinding | Awaitable[OwnFinding]]


@dataclass(frozen=True, slots=True)
class Size:
    """No more than so many characters of words."""

    characters: int


@dataclass(frozen=True, slots=True)
class Scripts:
    """Letters of these scripts only, by their names in the Unicode standard, such as `LATIN`, `CYRILLIC`, `ARABIC`.

    A stray letter is no language: it takes more than `share` of all letters to be a finding.
    """

    allowed: tuple[str, ...]
    share: float = 0.1


LANGUAGES = (
    "am", "ar", "bg", "bn", "ca", "cs", "da", "de", "el", "en", "es", "et", "fa", "fi", "fr", "gu", "he", "hi", "hr",
    "hu", "hy", "id", "it", "ja", "ka", "km", "kn", "ko", "lo", "lt", "lv", "ml", "mr", "my", "ne", "nl", "no", "pa",
    "pl", "pt", "ro", "ru", "si", "sk", "sr", "sv", "ta", "te", "th", "tr", "uk", "ur", "vi", "zh",
)  # fmt: skip
"""The languages that are known, by ISO 639-1."""


@dataclass(frozen=True, slots=True)
class Languages:
    """Words of the `allowed` languages only, or of any but the `refused` ones, by ISO 639-1 such as `en`.

    What is told is the script, or the commonest words: no model is asked. Short texts, names and close relatives
    (Danish and Norwegian, Croatian and Serbian in Latin letters) stay undecided; `undecided` says what becomes of a
    text of which nothing could be told. A finding takes more than `share` of the letters, so that a quoted title is
    none.
    """

    allowed: tuple[str, ...] = ()
    refused: tuple[str, ...] = ()
    undecided: Literal["pass", "object"] = "pass"
    share: float = 0.2

    def __post_init__(self) -> None:
        if bool(self.allowed) == bool(self.refused):
            raise Misconfigured("a rail of languages has some that are `allowed`, or some that are `refused`")
        unknown = [code for code in (*self.allowed, *self.refused) if code not in LANGUAGES]
        if unknown:
            raise Misconfigured(
                f"the language {unknown[0]!r} is not known", next_step=f"The known ones are {', '.join(LANGUAGES)}."
            )
        if not 0 <= self.share < 1:
            raise Misconfigured("the share of a rail of languages is 0 to less than 1")


@dataclass(frozen=True, slots=True)
class Topics:
    """None of these words and phrases, by topic. They are found whole, whatever their case and the spaces between."""

    phrases: Mapping[str, Sequence[str]]

    def __post_init__(self) -> None:
        if not self.phrases or not all(p and all(each.strip() for each in p) for p in self.phrases.values()):
            raise Misconfigured("every banned topic needs a phrase or more, and none may be empty")


@dataclass(frozen=True, slots=True)
class Injection:
    """No marks of an attempt to steer the model from within data: known turns of phrase, a chat template's own
    tokens, and letters that are not seen. It finds what is clumsy and no more, so it flags better than it blocks.
    Source: OWASP Top 10 for LLM Applications, LLM01, 2025.
    """

    phrases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Fits:
    """The answer is JSON that fits the schema; with `tool`, the arguments of every call of that tool are."""

    schema: Mapping[str, Any]
    tool: str | None = None


@dataclass(frozen=True, slots=True)
class Without:
    """None of these kinds of personal data and secrets; see `PrivacySpec`."""

    kinds: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OwnRail:
    """A function of one's own: what it objects to in a text, or None. It is given the whole text.

    With `arguments` it is given those of each tool call as well: their names and values as words, one on each line.
    """

    check: OwnCheck
    arguments: bool = True


Check = Size | Scripts | Languages | Topics | Injection | Fits | Without | OwnRail


@dataclass(frozen=True, slots=True, kw_only=True)
class RailSpec:
    """A named check. `block` refuses the call, or ends the answer; `flag` lets it pass and tells of it.

    What tools gave is part of a request. The arguments of the tool calls in an answer are judged by themselves, by
    every check but `Scripts` and `Languages`; while a rail may block them they are held back until they are complete.
    """

    name: str
    check: Check
    on: tuple[Side, ...] = ("ask",)
    action: Literal["block", "flag"] = "block"

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,62}", self.name):
            raise Misconfigured(f"{self.name!r} cannot name a rail: take a-z, 0-9, - and _")
        if not self.on or any(side not in ("ask", "answer") for side in self.on):
            raise Misconfigured(f"the rail {self.name} is on `ask`, on `answer`, or on both")
        if isinstance(self.check, Fits) and self.on != ("answer",):
            raise Misconfigured(f"the rail {self.name} checks an answer against a schema: on=('answer',)")


@dataclass(frozen=True, slots=True)
class RailFinding:
    """What a rail objected to. `message` says what kind of thing was found and never quotes it."""

    rail: str
    message: str
    blocked: bool


@dataclass(frozen=True, slots=True)
class RailReport:
    """The findings on one side of a call, in the order of the rails."""

    findings: Sequence[RailFinding] = field(default=())

    @property
    def blocked(self) -> bool:
        """Whether any of them blocks."""
        return any(finding.blocked for finding in self.findings)
