"""The words of a streamed answer, looked through as they come: what might still become something is held back."""

from __future__ import annotations

import json
from typing import Any

from ...core.context import Context
from .guard import Guard, Verdict
from .tokens import PREFIX

_HELD = 128  # characters: the longest of what has no end mark of its own, such as an address
_MOST = 32_768


class AnswerStream:
    """One answer. Without rules for answers only what may be the beginning of a token is held back.

    `json` says that it is the arguments of a call instead, where there are no rules for answers.
    """

    def __init__(self, guard: Guard, ctx: Context, verdict: Verdict, *, json: bool = False) -> None:
        self._guard = guard
        self._ctx = ctx
        self._verdict = verdict
        self._json = json
        self._held = ""

    async def feed(self, text: str) -> str:
        """What may be given of the answer so far. Raises NotAllowed."""
        whole = self._held + text
        cut = self._cut(whole)
        self._held = whole[cut:]
        return await self._given(whole[:cut])

    async def end(self) -> str:
        """The rest. Raises NotAllowed."""
        rest, self._held = self._held, ""
        return await self._given(rest)

    async def _given(self, text: str) -> str:
        return await self._guard.answered(self._ctx, text, self._verdict, json=self._json) if text else ""

    def _cut(self, whole: str) -> int:
        if not self._guard.watches_answers:
            open_token = PREFIX.search(whole, max(0, len(whole) - 44))
            return len(whole) if open_token is None else open_token.start()
        cut = len(whole) - _HELD
        if cut <= 0:
            return 0
        # Never within a word, and never within what was found: its rest may be still to come.
        cut = max(whole.rfind(" ", 0, cut), whole.rfind("\n", 0, cut)) + 1
        cut = min([cut, *(start for start, end in self._guard.stretches(whole) if start < cut < end)])
        return cut if len(whole) - cut < _MOST else len(whole) - _HELD


class ArgumentStream:
    """The arguments of one call under rules for answers: JSON can be looked through, and stay JSON, only as a whole."""

    def __init__(self, guard: Guard, ctx: Context, verdict: Verdict) -> None:
        self._guard = guard
        self._ctx = ctx
        self._verdict = verdict
        self._held: list[str] = []

    async def feed(self, text: str) -> str:
        """Nothing yet."""
        self._held.append(text)
        return ""

    async def end(self) -> str:
        """The arguments. Raises NotAllowed, also where a name or a number holds what is to be taken out."""
        text = "".join(self._held)
        try:
            document = json.loads(text, object_pairs_hook=_single)
        except (ValueError, RecursionError):
            # No JSON, as a tool of free text takes it: it is looked through as words.
            return await self._guard.answered(self._ctx, text, self._verdict, json=text[:1] in ("{", "["))
        looked = await self._guard.given({"arguments": document}, size=len(text))
        if looked.changed:
            text = json.dumps(looked.document["arguments"], ensure_ascii=False, separators=(",", ":"))
        return await self._guard.restored(self._ctx, text, self._verdict, json=True)


def _single(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Raises ValueError for two members with one name: only one of them would be looked through."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("two members have one name")
    return found
