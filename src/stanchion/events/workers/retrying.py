"""What a failure leads to: another attempt after a while, or the dead letters, with the history of all attempts."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

import msgspec

from ...core.errors import InvalidInput, NotAllowed, StanchionError, Throttled
from ..contract import HandlerSpec

LONGEST_ERROR = 500
KEPT = 20


@dataclass(frozen=True, slots=True)
class Rules:
    """A consumer's attempts and waits, in seconds."""

    attempts: int = 5
    base: float = 0.5
    maximum: float = 300.0

    @classmethod
    def of(cls, spec: HandlerSpec) -> Rules:
        """The rules that a handler declares."""
        return cls(spec.attempts, spec.base, spec.maximum)

    def wait(self, attempt: int, *, draw: Callable[[], float] = random.random) -> float:
        """Seconds before the next attempt: drawn between half and all of base x 2^n, at most the maximum.

        Not from zero on, as calls draw theirs: nobody waits for the answer, and a part that fails gains time.
        """
        most = min(self.maximum, self.base * 2.0 ** min(attempt - 1, 32))
        return most * (0.5 + 0.5 * draw())


def hopeless(error: BaseException) -> bool:
    """Whether another attempt of the same event would end in the same way."""
    return isinstance(error, InvalidInput | NotAllowed)


def in_words(error: BaseException) -> str:
    """The error in one line, as it is kept with the event."""
    text = error.detail if isinstance(error, StanchionError) else f"{type(error).__name__}: {error}"
    return text.strip().replace("\n", " ")[:LONGEST_ERROR]


def headline(error: BaseException) -> str:
    """The error's first line, for logs: below it engines quote the row that they refuse."""
    if isinstance(error, StanchionError):
        return in_words(error)
    return f"{type(error).__name__}: {error}".partition("\n")[0]


def asked_wait(error: BaseException) -> float | None:
    """The seconds after which whoever refused asked to be tried again."""
    return error.retry_after if isinstance(error, Throttled) else None


def history_of(packed: bytes) -> list[tuple[int, str]]:
    """The failed attempts: microseconds since the epoch, and the error."""
    return msgspec.msgpack.decode(packed, type=list[tuple[int, str]]) if packed else []


def longer(packed: bytes, at: int, error: str) -> bytes:
    """The history with one more failure; of very many the first and the last ones are kept."""
    history = [*history_of(packed), (at, error)]
    if len(history) > KEPT:
        history = [history[0], *history[-KEPT + 1 :]]
    return msgspec.msgpack.encode(history)
