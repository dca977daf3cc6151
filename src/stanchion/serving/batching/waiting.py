"""What waits for a run, by class of priority.

Each call is due some time after it came: interactive ones at once, normal ones a little later, bulk ones a second
later. A run takes what is due first. So an interactive call passes everything that came lately, and nothing that has
waited: no class can starve another.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping, Sequence
from typing import Any

from ...core.context import Context
from ...core.values import Json
from ..contract import Priority

DUE: Mapping[Priority, float] = {"interactive": 0.0, "normal": 0.05, "bulk": 1.0}


class Waiting:
    """One call's instances. Large ones are taken in pieces, so that a run never has more than its size."""

    __slots__ = ("answers", "came", "ctx", "done", "due", "given", "items", "left", "taken")

    def __init__(self, ctx: Context, items: Sequence[Any], came: float, due: float) -> None:
        self.ctx = ctx
        self.items = items
        self.came = came
        self.due = due
        self.taken = 0
        self.left = len(items)
        self.answers: list[Any] = [None] * len(items)
        self.done: asyncio.Future[Sequence[Any]] = asyncio.get_running_loop().create_future()

    def give(self, first: int, answers: Sequence[Mapping[str, Json]]) -> None:
        """Take the answers of a piece; with the last one the call ends."""
        self.answers[first : first + len(answers)] = answers
        self.left -= len(answers)
        if not self.left and not self.done.done():
            self.done.set_result(self.answers)

    def fail(self, error: BaseException) -> None:
        """End the call with an error."""
        if not self.done.done():
            self.done.set_exception(error)


class Piece:
    """Some of a call's instances, in one run."""

    __slots__ = ("call", "first", "items")

    def __init__(self, call: Waiting, first: int, items: Sequence[Any]) -> None:
        self.call = call
        self.first = first
        self.items = items


class Queue:
    """Calls that wait; `instances` is how many of theirs no run has taken yet."""

    def __init__(self) -> None:
        self._lines: dict[Priority, deque[Waiting]] = {priority: deque() for priority in DUE}
        self.instances = 0

    def add(self, call: Waiting, priority: Priority) -> None:
        """Put a call at the end of its class."""
        self._lines[priority].append(call)
        self.instances += len(call.items)

    def remove(self, call: Waiting) -> None:
        """Forget a call whose caller has gone: what of it is not taken yet will not be."""
        for line in self._lines.values():
            if call in line:
                line.remove(call)
                self.instances -= len(call.items) - call.taken

    def take(self, size: int) -> list[Piece]:
        """Up to so many instances, the first due first."""
        pieces: list[Piece] = []
        while size > 0:
            heads = [line for line in self._lines.values() if line]
            if not heads:
                break
            line = min(heads, key=lambda each: each[0].due)
            call = line[0]
            first, count = call.taken, min(size, len(call.items) - call.taken)
            whole = first == 0 and count == len(call.items)
            pieces.append(Piece(call, first, call.items if whole else call.items[first : first + count]))
            call.taken += count
            self.instances -= count
            size -= count
            if call.taken == len(call.items):
                line.popleft()
        return pieces
