"""Looks at a question and says how likely the cheap model is to answer it well, before anything is asked.

A logistic regression over hashed words and a few counts: it takes tens of microseconds, is trained in seconds from
labelled outcomes, and can be read. Source of the hashing: K. Weinberger et al., "Feature hashing", 2009.
"""

from __future__ import annotations

import math
import re
import zlib
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import msgspec

from ...core.errors import InvalidInput, NotTrustworthy

BINS = 4096
_WORD = re.compile(r"\w+")
_LONGEST = 20_000  # characters of a question that count
_CODE = re.compile(r"```|[{};]\s*$|\b(?:def|class|SELECT|import|function)\b", re.MULTILINE)
_COUNTS = 6


@dataclass(frozen=True, slots=True)
class Router:
    """Trained weights: of each bin of words, then of the counts, then the constant.

    `examples` is how many it was trained on and `auc` its area under the ROC curve on examples that it had not seen.
    """

    weights: tuple[float, ...]
    examples: int
    auc: float

    def __post_init__(self) -> None:
        if len(self.weights) != BINS + _COUNTS + 1 or not all(map(math.isfinite, self.weights)):
            raise NotTrustworthy(f"a router has {BINS + _COUNTS + 1} finite weights")

    def score(self, question: str) -> float:
        """The probability that the cheap model's answer to this question will do."""
        total = self.weights[-1] + sum(self.weights[place] * value for place, value in vector(question).items())
        return 1 / (1 + math.exp(-max(-500.0, min(500.0, total))))

    def save(self, file: Path) -> None:
        """Write it as JSON."""
        file.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, file: Path) -> Router:
        """Raises InvalidInput for a file that holds no router, and NotTrustworthy for one with other weights."""
        try:
            return msgspec.json.decode(file.read_bytes(), type=cls)
        except (OSError, msgspec.MsgspecError) as error:
            raise InvalidInput(f"{file.name} holds no router: {error}") from error


def vector(question: str) -> dict[int, float]:
    """A question as places and values: its words' bins (of length 1 together), then counts."""
    text = question[:_LONGEST]
    words = _WORD.findall(text.casefold())
    counts = Counter(zlib.crc32(word.encode()) % BINS for word in words)
    length = math.sqrt(sum((1 + math.log(count)) ** 2 for count in counts.values())) or 1.0
    found = {place: (1 + math.log(count)) / length for place, count in counts.items()}
    size = max(1, len(text))
    found[BINS] = math.log1p(len(words)) / 5
    found[BINS + 1] = min(1.0, text.count("?") / 3)
    found[BINS + 2] = sum(map(str.isdigit, text)) / size
    found[BINS + 3] = min(1.0, text.count("\n") / 20)
    found[BINS + 4] = float(_CODE.search(text) is not None)
    found[BINS + 5] = sum(len(word) > 7 for word in words) / max(1, len(words))
    return found
