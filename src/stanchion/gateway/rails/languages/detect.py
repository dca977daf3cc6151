"""Says of a text which languages it is written in, and of how much of it that could not be said.

Short texts, names, numbers and code stay undecided: a wrong language would be worse than none. A line is judged by
itself, long ones sentence by sentence, so that one language hides no other.
"""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from .words import ALONE, LETTERS, WORDS

UNDECIDED = ""
_WORD = re.compile(r"[^\W\d_]+(?:['’][^\W\d_]+)?[\u0300-\u036f\u0900-\u0903\u093a-\u094f]*[^\W\d_]*")
_NO_PROSE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]*`|\b\w+://\S+|\S+@\S+\.\S+|</?[A-Za-z][^<>\n]*>", re.DOTALL)
_SENTENCE = re.compile(r"(?<=[.!?;。！？])\s+|[。！？]")
_LONG_LINE = 240
_FEWEST_LETTERS = 4
_LEAST, _HITS, _LEAD, _SHARE = 1.05, 2, 1.4, 0.15
_MARK = 0.6  # what a word with a telling letter counts for


@dataclass(frozen=True, slots=True)
class Found:
    """Letters by language, as ISO 639-1 codes; those of which it could not be said are under the empty name."""

    letters: Mapping[str, int] = field(default_factory=dict)

    @property
    def total(self) -> int:
        """All letters."""
        return sum(self.letters.values())

    @property
    def decided(self) -> Mapping[str, int]:
        """The letters of which the language is known."""
        return {language: count for language, count in self.letters.items() if language != UNDECIDED}


def detect(text: str) -> Found:
    """The languages of a text. Code between backquotes, links, addresses and tags are no prose and are left out."""
    prose = _NO_PROSE.sub(" ", unicodedata.normalize("NFC", text))
    pieces = [piece for line in prose.splitlines() for piece in _pieces(line)]
    counted: Counter[str] = Counter()
    for piece in pieces:
        counted.update(_judged(piece))
    if set(counted) == {UNDECIDED} and len(pieces) > 1:
        # Each by itself was too short; all together may be enough.
        counted = _judged(" ".join(pieces))
    return Found(dict(counted))


def _pieces(line: str) -> list[str]:
    return [line] if len(line) <= _LONG_LINE else _SENTENCE.split(line)


def _judged(piece: str) -> Counter[str]:
    """Letters of a piece by language: one language for each script in it."""
    words: dict[str, list[str]] = {}
    size: Counter[str] = Counter()
    for word in _WORD.findall(piece):
        for script, part in _parts(word.lower().replace("’", "'")):
            words.setdefault(script, []).append(part)
            size[script] += len(part)
    if size["HIRAGANA"] + size["KATAKANA"] and size["CJK"]:
        size["HIRAGANA"] += size.pop("CJK")
    found: Counter[str] = Counter()
    for script, count in size.items():
        if count:
            found[_language(script, words.get(script, []), count)] += count
    return found


def _parts(word: str) -> list[tuple[str, str]]:
    """A word's runs of one script: languages that put no spaces between words mix them within what looks like one."""
    runs: list[tuple[str, str]] = []
    for letter in word:
        script = _script(letter) if letter.isalpha() else (runs[-1][0] if runs else "")
        if not script:
            continue
        if runs and runs[-1][0] == script:
            runs[-1] = (script, runs[-1][1] + letter)
        else:
            runs.append((script, letter))
    return runs


@lru_cache(maxsize=8192)
def _script(letter: str) -> str:
    name = unicodedata.name(letter, "UNKNOWN").split(" ", 1)[0].split("-", 1)[0]
    # Long vowels of Katakana are named by themselves, widths by their form.
    return {"FULLWIDTH": "LATIN", "HALFWIDTH": "KATAKANA", "IDEOGRAPHIC": "CJK"}.get(name, name)


def _language(script: str, words: list[str], letters: int) -> str:
    if script in ALONE:
        return ALONE[script] if letters >= _FEWEST_LETTERS else UNDECIDED
    return _by_words(script, words) if script in WORDS else UNDECIDED


def _by_words(script: str, words: list[str]) -> str:
    """The language whose words and letters stand out, if any does."""
    known, telling = _known(script), _telling(script)
    score: defaultdict[str, float] = defaultdict(float)
    hits: Counter[str] = Counter()
    owned: set[str] = set()
    # A word that comes again tells little more: a text of one word repeated has one word.
    times: Counter[str] = Counter()
    for word in words:
        times[word] += 1
        if times[word] > 3:
            continue
        owners = known.get(word, ())
        for language in owners:
            score[language] += 1 / len(owners)
        marked = {language for letter in word for language in telling.get(letter, ())} if not owners else set()
        for language in marked:
            score[language] += _MARK / len(marked)
        hits.update({*owners, *marked})
        owned.update(owners)
    if not score:
        return UNDECIDED
    best = max(score, key=score.__getitem__)
    most = score.pop(best)
    second = max(score.values(), default=0.0)
    seen = sum(min(count, 3) for count in times.values())
    # Letters alone tell of names as well: one of the words must be a common one.
    if best not in owned or most < _LEAST or hits[best] < _HITS or most < _LEAD * second or hits[best] < _SHARE * seen:
        return UNDECIDED
    return best


@lru_cache(maxsize=8)
def _known(script: str) -> Mapping[str, tuple[str, ...]]:
    """Which languages have a word among their commonest."""
    owners: dict[str, list[str]] = {}
    for language, text in WORDS[script].items():
        for word in dict.fromkeys(text.split()):
            owners.setdefault(word, []).append(language)
    return {word: tuple(languages) for word, languages in owners.items()}


@lru_cache(maxsize=8)
def _telling(script: str) -> Mapping[str, tuple[str, ...]]:
    """Which languages have a letter that tells."""
    owners: dict[str, list[str]] = {}
    for language, letters in LETTERS.get(script, {}).items():
        for letter in letters:
            owners.setdefault(letter, []).append(language)
    return {letter: tuple(languages) for letter, languages in owners.items()}
