"""What is done with a document's words. Plain functions: nothing here knows of events."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

RULES = "word rules, written by hand and not trained"
KINDS: Mapping[str, Sequence[str]] = {
    "contract": ("agreement", "contract", "party", "parties", "clause", "termination", "hereby", "liability"),
    "invoice": ("invoice", "amount", "due", "total", "payment", "vat", "price", "quantity"),
    "report": ("figure", "table", "data", "model", "results", "analysis", "section", "report"),
    "letter": ("dear", "sincerely", "regards", "yours", "thank", "letter"),
    "web page": ("cookie", "cookies", "login", "menu", "download", "privacy", "firefox", "server", "status"),
}
URGENT = frozenset({"urgent", "immediately", "overdue", "deadline", "reminder"})
_WORD = re.compile(r"[^\W\d_]{2,}")
_DATE = re.compile(r"\b(?:\d{4}-\d{2}-\d{2}|\d{1,2} (?:January|February|March|April|May|June|July|August|September|"
                   r"October|November|December) \d{4})\b")  # fmt: skip
_MONEY = re.compile(r"(?:\b(?:EUR|USD|GBP)|[€$£]) ?\d[\d,.]*\d|\b\d[\d,.]* ?(?:EUR|USD|GBP|€)")
_MAIL = re.compile(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b")
_COMMON = frozenset(
    ("the", "this", "that", "these", "those", "with", "from", "will", "shall", "have", "been", "which", "their", "your")
)
_MOST = 20


def extracted(text: str) -> dict[str, list[str]]:
    """Dates, amounts and mail addresses, in their order, each once."""
    found = (("dates", _DATE), ("amounts", _MONEY), ("mails", _MAIL))
    return {name: list(dict.fromkeys(pattern.findall(text)))[:_MOST] for name, pattern in found}


def classified(text: str) -> tuple[str, float]:
    """The kind whose words are the most frequent, and its share of the hits; `other` where too few words tell."""
    words = Counter(word.lower() for word in _WORD.findall(text))
    hits = {kind: sum(words[word] for word in listed) for kind, listed in KINDS.items()}
    whole = sum(hits.values())
    best = max(hits, key=lambda kind: hits[kind])
    if whole < 3 or hits[best] / whole < 0.4:
        return "other", 0.0
    return best, round(hits[best] / whole, 3)


def asked(text: str) -> str:
    """A question after what the document speaks of most, for a model that quotes."""
    words = Counter(word.lower() for word in _WORD.findall(text) if word.lower() not in _COMMON and len(word) > 3)
    return "What is said of " + ", ".join(word for word, _ in words.most_common(8)) + "?"


def quoted(answer: str, text: str) -> list[str]:
    """The quotes of an answer that stand in the text to the letter: anything else is no summary of it."""
    plain = " ".join(text.split())
    return [quote for quote in re.findall(r"“(.+?)”", answer, re.DOTALL) if " ".join(quote.split()) in plain]


def urgent(text: str) -> bool:
    """Whether a word of the document says that it cannot wait."""
    return any(word.lower() in URGENT for word in _WORD.findall(text))
