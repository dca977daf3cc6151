"""What each kind of rail looks for. A check gives what it objects to in words that quote nothing, or None."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import assert_never

from ..contract.privacy import PrivacySpec
from ..contract.rails import Check, Fits, Injection, Languages, OwnRail, Scripts, Size, Topics, Without
from ..privacy.detect import Detector

_QUICK = 2_000
Look = Callable[[str], Awaitable[str | None]]

_GAP, _OTHERS = r"\W{1,10}", r"\W{1,10}(?:\w{1,30}\W{1,10}){0,4}"
_STEERING = (
    rf"(?:ignore|disregard|forget|override){_OTHERS}(?:instructions?|prompts?|rules|guidelines)",
    rf"(?:reveal|print|repeat|show|tell){_OTHERS}(?:system|hidden|initial){_GAP}(?:prompt|instructions?)",
    rf"you{_GAP}are{_GAP}now{_OTHERS}(?:mode|dan|unrestricted|jailbroken)",
    r"<\|(?:im_start|im_end|system|assistant|endoftext|start_header_id)\|>",
    r"\[/?INST\]|<<SYS>>|</?(?:system|assistant)>",
)
# Letters that are not seen: tags (U+E0000), zero width, and turns of the direction of writing.
_UNSEEN = re.compile("[\U000e0000-\U000e007f\u200b\u200e\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069]")


def look_of(check: Check) -> Look:
    """The check as a function of a text."""
    match check:
        case Size():
            return _size(check.characters)
        case Scripts():
            return _scripts(check)
        case Languages():
            return _languages(check)
        case Topics():
            return _topics(check)
        case Injection():
            return _injection(check)
        case Fits():
            return _fits(check)
        case Without():
            return _without(check)
        case OwnRail():
            return _own(check)
        case _:
            assert_never(check)


def reach_of(check: Check) -> int | None:
    """How many characters of a text a finding can span; None where only the whole text can be judged."""
    match check:
        case Size():
            return 0
        case Topics():
            return max(len(p) + 10 * len(p.split()) for phrases in check.phrases.values() for p in phrases)
        case Injection():
            return 256
        case Without():
            return 128
        case Scripts() | Languages() | Fits() | OwnRail():
            return None
        case _:
            assert_never(check)


def judges(check: Check, tool: str | None) -> bool:
    """Whether the check looks at an answer's words (None), or at the arguments of a call of this tool."""
    if isinstance(check, Fits):
        return check.tool == tool
    if isinstance(check, OwnRail):
        return tool is None or check.arguments
    # Names and codes are of no script and no language that a caller would be shown.
    return tool is None or not isinstance(check, Scripts | Languages)


def _size(most: int) -> Look:
    async def look(text: str) -> str | None:
        return f"longer than {most} characters" if len(text) > most else None

    return look


def _scripts(check: Scripts) -> Look:
    allowed = tuple(name.upper() for name in check.allowed)

    async def look(text: str) -> str | None:
        letters = [letter for letter in text if letter.isalpha()]
        strange = Counter(script for letter in letters if (script := _script(letter)) not in allowed)
        if not letters or strange.total() <= check.share * len(letters):
            return None
        return f"letters of another script: {', '.join(name for name, _ in strange.most_common(3))}"

    return look


def _script(letter: str) -> str:
    """The first word of a letter's Unicode name, which is its script's for all living alphabets."""
    return unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]


def _languages(check: Languages) -> Look:
    from .languages.detect import UNDECIDED, detect

    async def look(text: str) -> str | None:
        # Off the event loop: a long text takes milliseconds.
        found = await asyncio.to_thread(detect, text) if len(text) > _QUICK else detect(text)
        decided = found.decided
        strange = {
            language: count
            for language, count in decided.items()
            if (language not in check.allowed if check.allowed else language in check.refused)
        }
        if strange and sum(strange.values()) > check.share * found.total:
            return f"another language: {', '.join(sorted(strange, key=strange.__getitem__, reverse=True)[:3])}"
        if check.undecided == "object" and found.letters.get(UNDECIDED) and not decided:
            return "its language could not be told"
        return None

    return look


def _topics(check: Topics) -> Look:
    patterns = {
        topic: re.compile("|".join(_phrase(phrase) for phrase in phrases), re.IGNORECASE)
        for topic, phrases in check.phrases.items()
    }

    async def look(text: str) -> str | None:
        plain = unicodedata.normalize("NFKC", text)
        found = [topic for topic, pattern in patterns.items() if pattern.search(plain)]
        return f"banned topic: {', '.join(found)}" if found else None

    return look


def _phrase(phrase: str) -> str:
    return r"(?<!\w)" + _GAP.join(map(re.escape, phrase.split())) + r"(?!\w)"


def _injection(check: Injection) -> Look:
    pattern = re.compile("|".join([*_STEERING, *map(_phrase, check.phrases)]), re.IGNORECASE)

    async def look(text: str) -> str | None:
        if _UNSEEN.search(text):
            return "letters that are not seen"
        return "a turn of phrase that steers models" if pattern.search(unicodedata.normalize("NFKC", text)) else None

    return look


def _fits(check: Fits) -> Look:
    from jsonschema import Draft202012Validator
    from referencing import Registry

    # An empty registry: a schema must not make this process fetch anything.
    validator = Draft202012Validator(dict(check.schema), registry=Registry())

    async def look(text: str) -> str | None:
        try:
            document = json.loads(text)
        except ValueError:
            return "no JSON"
        fault = next(iter(validator.iter_errors(document)), None)
        return None if fault is None else f"does not fit the schema at {fault.json_path} ({fault.validator})"

    return look


def _without(check: Without) -> Look:
    detector = Detector(PrivacySpec(ask=dict.fromkeys(check.kinds, "block")))

    async def look(text: str) -> str | None:
        found = sorted({span.kind for span in detector.find(text)} & set(check.kinds))
        return f"holds {', '.join(found)}" if found else None

    return look


def _own(check: OwnRail) -> Look:
    async def look(text: str) -> str | None:
        told = check.check(text)
        return await told if inspect.isawaitable(told) else told

    return look
