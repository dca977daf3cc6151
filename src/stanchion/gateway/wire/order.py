"""Steps in an order that forms of one block after another can write: no tool call is told of while another is open.

OpenAI's form numbers the calls of an answer and may mix their pieces; Anthropic's and the Responses API's do not.
"""

from __future__ import annotations

import msgspec

from ...core.errors import Unavailable
from .conversation import CallBegan, CallPart, Ended, Step


class InOrder:
    """Gives the steps back with the pieces of each call together. A call is told of at once where the one before it is
    complete, as it nearly always is; otherwise it waits for the end.
    """

    def __init__(self) -> None:
        self._open: int | None = None
        self._arguments: list[str] = []
        self._waiting: dict[int, list[Step]] = {}
        self._closed: set[int] = set()

    def feed(self, step: Step) -> list[Step]:
        """The steps to write now. Raises Unavailable for a piece of a call that never began or is closed."""
        if isinstance(step, CallBegan):
            return self._began(step)
        if isinstance(step, CallPart):
            return self._part(step)
        if isinstance(step, Ended):
            return [*(held for waiting in self._waiting.values() for held in waiting), step]
        return [step]

    def _began(self, step: CallBegan) -> list[Step]:
        if self._waiting or (self._open is not None and not self._complete()):
            self._waiting[step.index] = [step]
            return []
        if self._open is not None:
            self._closed.add(self._open)
        self._open, self._arguments = step.index, []
        return [step]

    def _part(self, step: CallPart) -> list[Step]:
        if step.index == self._open:
            self._arguments.append(step.arguments)
            return [step]
        if step.index not in self._waiting:
            late = "after it was complete" if step.index in self._closed else "before it began"
            raise Unavailable(f"the upstream sent a piece of a tool call {late}")
        self._waiting[step.index].append(step)
        return []

    def _complete(self) -> bool:
        try:
            msgspec.json.decode("".join(self._arguments))
        except msgspec.DecodeError:
            return False
        return True
