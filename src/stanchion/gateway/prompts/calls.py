"""Calls that name a prompt instead of bringing all their words: `"prompt": {"id": ..., "variables": {...}}`.

The form is the one of OpenAI's Responses API, and is taken in chat completions and messages too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from hashlib import blake2b
from typing import Any

from ...core.context import Context
from ...core.errors import FieldProblem, InvalidInput
from ..contract.calls import Ask
from ..contract.prompts import Message, Prompts, Rendered
from ..wire.peek import Peek, peek_of

PROMPT = "prompt"
"""The tag that tells which prompt and version a call was made with, such as `greeting@3`."""
UNIT = "prompt_unit"
"""The tag that tells whom a version was assigned to, where the call names it: a digest, as it may be a person."""
_SHAPES = ("chat", "messages", "responses")
_KEYS = {"id", "label", "version", "variables", "unit"}


class Prompted:
    """Puts prompts into calls. A prompt's turns come before those of the call."""

    def __init__(self, prompts: Prompts) -> None:
        self._prompts = prompts

    async def filled(self, ctx: Context, ask: Ask) -> Ask:
        """The call with its prompt's words in it, tagged by the version; the call itself where it names none.

        Raises NotFound for an unknown prompt or label, and InvalidInput with the path of what does not fit.
        """
        if b'"prompt"' not in ask.body or ask.shape not in _SHAPES:
            return ask
        peek = peek_of(ask)
        named = peek.read("prompt")
        if named is None:
            return ask
        rendered = await self._rendered(ctx, named)
        body = peek.replaced(put=_put(ask.shape, peek, rendered.messages), drop=("prompt",))
        tags = {**ask.tags, PROMPT: f"{rendered.name}@{rendered.version}"}
        if unit := named.get("unit"):
            tags[UNIT] = blake2b(str(unit).encode(), digest_size=8).hexdigest()
        return replace(ask, body=body, tags=tags)

    async def _rendered(self, ctx: Context, named: object) -> Rendered:
        if not isinstance(named, Mapping) or not isinstance(named.get("id"), str) or not set(named) <= _KEYS:
            raise _wrong("$.prompt", f"Expected an object with `id`, and at most {', '.join(sorted(_KEYS))}")
        variables = named.get("variables") or {}
        if not isinstance(variables, Mapping):
            raise _wrong("$.prompt.variables", "Expected an object")
        label = named.get("version") or named.get("label") or "production"
        return await self._prompts.render_prompt(
            ctx, named["id"], dict(variables), label=str(label), unit=str(named.get("unit") or "")
        )


def _put(shape: str, peek: Peek, messages: Sequence[Message]) -> dict[str, Any]:
    turns = [{"role": each.role, "content": each.text} for each in messages]
    if shape == "chat":
        return {"messages": [*turns, *_list(peek, "messages")]}
    system = "\n\n".join(each.text for each in messages if each.role == "system")
    others = [turn for turn in turns if turn["role"] != "system"]
    key, mine = ("system", "messages") if shape == "messages" else ("instructions", "input")
    put: dict[str, Any] = {mine: [*others, *_list(peek, mine)]}
    if system:
        put[key] = _joined(system, peek.read(key))
    return put


def _joined(system: str, own: object) -> object:
    """The prompt's instructions, then the call's own."""
    if isinstance(own, list):
        return [{"type": "text", "text": system}, *own]
    return f"{system}\n\n{own}" if own else system


def _list(peek: Peek, key: str) -> list[Any]:
    given = peek.read(key)
    if given is None:
        return []
    if isinstance(given, str):
        return [{"role": "user", "content": given}]
    if not isinstance(given, list):
        raise _wrong(f"$.{key}", "Expected a list")
    return given


def _wrong(path: str, message: str) -> InvalidInput:
    return InvalidInput(f"{path}: {message}", fields=[FieldProblem(path, message)])
