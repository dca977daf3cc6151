"""Prompts: named templates whose versions never change, and labels that say which version is in use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.values import Json

VariableType = Literal["string", "integer", "number", "boolean", "list"]
PromptRole = Literal["system", "user", "assistant"]


@dataclass(frozen=True, slots=True)
class Variable:
    """A gap in a template. Without a default the caller must fill it."""

    name: str
    type: VariableType = "string"
    default: Json = None
    required: bool = True


@dataclass(frozen=True, slots=True)
class Message:
    """A turn of the template: words with gaps such as `{{customer}}`."""

    role: PromptRole
    text: str


@dataclass(frozen=True, slots=True)
class Prompt:
    """One version of a prompt; versions count from 1."""

    name: str
    version: int
    messages: Sequence[Message]
    variables: Sequence[Variable]
    note: str
    author: str
    at: datetime


@dataclass(frozen=True, slots=True)
class PromptView:
    """A prompt with its labels. A label shows versions by their weight; most have one."""

    name: str
    newest: int
    labels: Mapping[str, Mapping[int, float]]


@dataclass(frozen=True, slots=True)
class Rendered:
    """A prompt with its gaps filled, and which version it was."""

    name: str
    version: int
    label: str
    messages: Sequence[Message]


class Prompts(Protocol):
    """The tenant's prompts."""

    @action("gateway:read", effect="read", resource="Prompt")
    async def prompts(self, ctx: Context) -> Sequence[PromptView]:
        """Every prompt by name."""
        ...

    @action("gateway:read", effect="read", resource="Prompt", by="name")
    async def prompt(self, ctx: Context, name: str, version: int | None = None) -> Prompt:
        """One version; the newest if none is named. Raises NotFound."""
        ...

    @action("gateway:write_prompt", effect="write", resource="Prompt", by="name")
    async def add_prompt(
        self,
        ctx: Context,
        name: str,
        messages: Sequence[Message],
        *,
        variables: Sequence[Variable] = (),
        note: str = "",
        after: int | None = None,
    ) -> Prompt:
        """The new version. `after` is the version that it is meant to follow (0: none yet); Conflict if another came.

        Raises InvalidInput for a gap without a variable, a variable without a gap, and a template without words.
        """
        ...

    @action("gateway:label_prompt", effect="write", resource="Prompt", by="name")
    async def label_prompt(self, ctx: Context, name: str, label: str, weights: Mapping[int, float]) -> PromptView:
        """Let a label show one version, or several by weight. No weights take the label away. Raises NotFound."""
        ...

    @action("gateway:read", effect="read", resource="Prompt", by="name")
    async def render_prompt(
        self, ctx: Context, name: str, variables: Mapping[str, Json], *, label: str = "production", unit: str = ""
    ) -> Rendered:
        """The prompt's messages with their gaps filled.

        `label` is a label, or a version as digits. Where a label shows several versions, the same `unit` (the caller's
        principal, if it is empty) always gets the same one. Raises NotFound, and InvalidInput with the variable's path.
        """
        ...
