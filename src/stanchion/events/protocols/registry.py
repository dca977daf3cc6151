"""The schema registry and the AsyncAPI document over HTTP."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Depends, Path, Response
from pydantic import BaseModel, ConfigDict, Field

from ...core.context import Context
from ...core.http import context_of
from ..contract import Clash, Compatibility, EventType, Judgement, SchemaKind, Schemas, SchemaVersion, Subject
from ..describing import document

Caller = Annotated[Context, Depends(context_of)]
SubjectName = Annotated[str, Path(description="The event type whose data the schema describes.", max_length=200)]


class Body(BaseModel):
    """A request's body: unknown fields are refused."""

    model_config = ConfigDict(extra="forbid")


class Proposal(Body):
    """A schema that is to be a subject's next version."""

    schema_: dict[str, Any] | list[Any] | str | bool = Field(
        alias="schema",
        description="The schema itself, as JSON or as a text that holds the JSON.",
    )
    kind: SchemaKind = Field("json", description="`json` is JSON Schema 2020-12.")

    @property
    def text(self) -> str:
        """The schema as JSON text."""
        given = self.schema_
        if isinstance(given, str) and given.lstrip()[:1] in ("{", "[", '"'):
            return given
        return msgspec.json.encode(given).decode()


class Registration(Proposal):
    """A schema to register, and how this and later changes are judged."""

    compatibility: Compatibility | None = Field(None, description="Default: what it is; `backward` for a new subject.")
    lenient: bool | None = Field(
        None, description="Take it for granted that data hold no undeclared properties which a later version declares."
    )


class Rule(Body):
    """How changes of a subject are judged."""

    compatibility: Compatibility
    lenient: bool | None = None


class Version(BaseModel):
    """A version of a schema."""

    subject: str
    version: int
    kind: SchemaKind
    schema_: Any = Field(serialization_alias="schema")
    fingerprint: str
    made_at: str
    made_by: str


class Subjects(BaseModel):
    """Subjects, by name."""

    data: list[Subject]


class Versions(BaseModel):
    """Versions, oldest first."""

    data: list[Version]


class Judged(BaseModel):
    """Whether a schema may follow, and every reason why not."""

    compatible: bool
    compatibility: Compatibility
    clashes: list[Clash]


def add_schemas(api: APIRouter, events: Schemas) -> None:
    """Add the registry's routes."""

    @api.get("/schemas")
    async def list_schemas(ctx: Caller) -> Subjects:
        """Subjects, with the rule by which each one's changes are judged."""
        return Subjects(data=list(await events.subjects(ctx)))

    @api.get("/schemas/{subject}")
    async def show_schema(ctx: Caller, subject: SubjectName) -> Version:
        """The newest version."""
        return _version(await events.schema(ctx, subject))

    @api.get("/schemas/{subject}/versions")
    async def list_schema_versions(ctx: Caller, subject: SubjectName) -> Versions:
        """Every version."""
        return Versions(data=[_version(each) for each in await events.schema_versions(ctx, subject)])

    @api.get("/schemas/{subject}/versions/{number}")
    async def show_schema_version(ctx: Caller, subject: SubjectName, number: Annotated[int, Path(ge=1)]) -> Version:
        """One version."""
        return _version(await events.schema(ctx, subject, number))

    @api.post("/schemas/{subject}")
    async def register_schema(ctx: Caller, subject: SubjectName, body: Registration) -> Version:
        """Make it the next version. A breaking change is refused with every reason and path."""
        made = await events.register(
            ctx, subject, body.text, kind=body.kind, compatibility=body.compatibility, lenient=body.lenient
        )
        return _version(made)

    @api.post("/schemas/{subject}/check")
    async def check_schema(ctx: Caller, subject: SubjectName, body: Proposal) -> Judged:
        """What registering it would say."""
        return _judged(await events.judge(ctx, subject, body.text, kind=body.kind))

    @api.put("/schemas/{subject}/compatibility")
    async def put_compatibility(ctx: Caller, subject: SubjectName, body: Rule) -> Subject:
        """Judge changes in this way from now on."""
        return await events.set_compatibility(ctx, subject, body.compatibility, lenient=body.lenient)


def add_asyncapi(api: APIRouter, events: Schemas) -> None:
    """Add the document's route."""

    @api.get("/asyncapi", response_class=Response, responses={200: {"content": {"application/json": {}}}})
    async def show_asyncapi(ctx: Caller) -> Response:
        """The AsyncAPI 3 document of the tenant's events."""
        types: list[EventType] = list(await events.catalogue(ctx))
        return Response(msgspec.json.encode(document("Stanchion", "1", types)), media_type="application/json")


def _version(each: SchemaVersion) -> Version:
    return Version(
        subject=each.subject,
        version=each.version,
        kind=each.kind,
        schema_=msgspec.json.decode(each.text),
        fingerprint=each.fingerprint,
        made_at=each.made_at.isoformat(),
        made_by=each.made_by,
    )


def _judged(found: Judgement) -> Judged:
    return Judged(compatible=found.compatible, compatibility=found.compatibility, clashes=list(found.clashes))
