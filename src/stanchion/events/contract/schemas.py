"""Schemas of events' data: kinds, versions, how a change is judged, and the calls of the registry."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

from ...core.context import Context
from ...core.contract import action

SchemaKind = Literal["json", "avro"]
Compatibility = Literal[
    "none",
    "backward",
    "backward_transitive",
    "forward",
    "forward_transitive",
    "full",
    "full_transitive",
]


@dataclass(frozen=True, slots=True)
class Clash:
    """One thing that makes a change a breaking one.

    `path` is a JSON pointer into the schema that reads (`#/properties/amount/type`), `reason` a stable word such as
    `type_narrowed`. `against` is the version it clashes with, `reads` says which of the two is the reader.
    """

    reason: str
    path: str
    message: str
    against: int = 0
    reads: Literal["new", "old"] = "new"


@dataclass(frozen=True, slots=True)
class SchemaVersion:
    """A version of a subject's schema. It never changes; `fingerprint` is the SHA-256 of its canonical text."""

    subject: str
    version: int
    kind: SchemaKind
    text: str
    fingerprint: str
    made_at: datetime
    made_by: str


@dataclass(frozen=True, slots=True)
class Subject:
    """What is kept under one name, as a rule an event type: its newest version and how changes are judged.

    `lenient` takes it for granted that data holds no undeclared properties whose names a later version declares.
    """

    name: str
    kind: SchemaKind
    newest: int
    compatibility: Compatibility
    lenient: bool


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether a schema may become a subject's next version, and every reason why not."""

    compatible: bool
    compatibility: Compatibility
    clashes: tuple[Clash, ...] = ()


@dataclass(frozen=True, slots=True)
class EventType:
    """A type of event as the catalogue has it: what its data are, and which declared handlers take it."""

    type: str
    description: str = ""
    schema: SchemaVersion | None = None
    handlers: tuple[str, ...] = ()


class Schemas(Protocol):
    """The schemas of the caller's tenant, by subject. A subject is named as the event type whose data it describes."""

    @action("events:read_schema", effect="read", resource="Schema")
    async def subjects(self, ctx: Context) -> Sequence[Subject]:
        """Every subject, by name."""
        ...

    @action("events:read_schema", effect="read", resource="Schema", by="subject")
    async def schema(self, ctx: Context, subject: str, version: int | None = None) -> SchemaVersion:
        """One version, or the newest. Raises NotFound."""
        ...

    @action("events:read_schema", effect="read", resource="Schema", by="subject")
    async def schema_versions(self, ctx: Context, subject: str) -> Sequence[SchemaVersion]:
        """All versions, oldest first. Raises NotFound."""
        ...

    @action("events:write_schema", effect="write", resource="Schema", by="subject")
    async def register(
        self,
        ctx: Context,
        subject: str,
        text: str,
        *,
        kind: SchemaKind = "json",
        compatibility: Compatibility | None = None,
        lenient: bool | None = None,
    ) -> SchemaVersion:
        """Make it the subject's next version, or give the version that it already is.

        A new subject is judged `backward` and strictly unless told otherwise; what is told holds for this version and
        all later ones. Raises InvalidInput for what is no schema, Conflict with every reason and path for a breaking
        change; nothing is changed then.
        """
        ...

    @action("events:read_schema", effect="read", resource="Schema", by="subject")
    async def judge(self, ctx: Context, subject: str, text: str, *, kind: SchemaKind = "json") -> Judgement:
        """What `register` would say, without doing it. Raises InvalidInput for what is no schema."""
        ...

    @action("events:write_schema", effect="write", resource="Schema", by="subject")
    async def set_compatibility(
        self, ctx: Context, subject: str, compatibility: Compatibility, *, lenient: bool | None = None
    ) -> Subject:
        """Judge the subject's changes in this way from now on. Raises NotFound."""
        ...

    @action("events:read_schema", effect="read", resource="Schema")
    async def catalogue(self, ctx: Context) -> Sequence[EventType]:
        """Every type that is declared, handled or has a schema, by name."""
        ...
