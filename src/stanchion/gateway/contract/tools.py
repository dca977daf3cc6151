"""Tools of other servers, by the Model Context Protocol: who may see and call which."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Protocol

from ...core.context import Context
from ...core.contract import action
from ...core.errors import Misconfigured
from ...core.values import Json
from .specs import Credential, UpstreamSpec, check_name

SEPARATOR = "__"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolServerSpec:
    """A server of tools that speaks MCP over streamable HTTP at `url`; calls go to that address alone.

    `tools` are patterns of the tools that are offered at all. `keys` are patterns of tools by pattern of principal
    (`key:ID`, `user:NAME`): once there is one, a caller has only what the patterns that fit it name. Calls whose data
    is of a guarded class go only where `on_premises` and `region` allow it. With `as_given` a server on the premises
    has its arguments as they were given, such as the address that a mail goes to: what the rules would redact or
    tokenise is left, and counts for their class. `seconds` is the longest call.
    """

    name: str
    url: str
    credential: Credential | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    tools: tuple[str, ...] = ("*",)
    keys: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    on_premises: bool = False
    as_given: bool = False
    region: str = ""
    seconds: float = 60.0
    plain_http: bool = False

    def __post_init__(self) -> None:
        check_name("a tool server", self.name)
        if SEPARATOR in self.name:
            raise Misconfigured(f"a tool server cannot be called {self.name!r}: {SEPARATOR} parts it from its tools")
        if self.as_given and not self.on_premises:
            raise Misconfigured(
                f"the tool server {self.name} cannot have its arguments as they were given: it is not on the premises",
                next_step="Mark it on_premises if it is a machine of your own, or leave as_given out.",
            )
        self.upstream()

    def upstream(self) -> UpstreamSpec:
        """How it is reached. Raises Misconfigured for an address or a time that cannot be."""
        return UpstreamSpec(
            name=self.name,
            kind="compatible",
            url=self.url,
            credential=self.credential,
            headers=self.headers,
            on_premises=self.on_premises,
            region=self.region,
            seconds=self.seconds,
            plain_http=self.plain_http,
        )

    def offers(self, principal: str, tool: str) -> bool:
        """Whether the caller may know of the tool, by its name at the server."""
        if not any(fnmatchcase(tool, pattern) for pattern in self.tools):
            return False
        fitting = [tools for pattern, tools in self.keys.items() if fnmatchcase(principal, pattern)]
        return not self.keys or any(fnmatchcase(tool, pattern) for tools in fitting for pattern in tools)


@dataclass(frozen=True, slots=True)
class ToolView:
    """A tool as callers see it: `name` is SERVER__TOOL, `schema` the JSON Schema of its arguments."""

    name: str
    description: str
    schema: Mapping[str, Json]
    server: str


@dataclass(frozen=True, slots=True)
class ToolAnswer:
    """What a tool gave, as MCP has it: `content` are its parts. `failed` tells that the tool itself says it failed."""

    content: Sequence[Mapping[str, Json]]
    structured: Mapping[str, Json] | None = None
    failed: bool = False


class Tools(Protocol):
    """Tools of the declared servers."""

    @action("gateway:read_tools", effect="read", resource="Tool")
    async def tools(self, ctx: Context) -> Sequence[ToolView]:
        """Every tool that the caller may know of, by name. A server that does not answer is left out; Unavailable if
        none does.
        """
        ...

    @action("gateway:call_tool", effect="outward", resource="Tool", by="name", seconds=600)
    async def call_tool(
        self, ctx: Context, name: str, arguments: Mapping[str, Json], *, sensitivity: str = ""
    ) -> ToolAnswer:
        """Call a tool, once: it is never called again because an answer did not come.

        Arguments and answer are looked through by the declared rules (`PrivacySpec`), as calls of models are;
        `sensitivity` is the caller's own word for the class of the arguments.

        Raises NotFound for one that the caller may not know of, InvalidInput for arguments that its server refuses
        and for a class that there is not, NotAllowed for data that may not go there and for an answer that may not be
        given (the tool has then been called), Unavailable, DeadlineExceeded.
        """
        ...
