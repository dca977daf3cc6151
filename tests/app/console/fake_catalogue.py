"""What a bus holds and the schemas of it, for the console's tests: three events, and a type in two versions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from stanchion.core.context import Context
from stanchion.core.errors import Conflict, NotFound
from stanchion.events import (
    Clash,
    Compatibility,
    Envelope,
    Event,
    Events,
    EventType,
    Judgement,
    Recalled,
    SchemaKind,
    SchemaVersion,
    Selection,
    Subject,
)
from tests.app.console.fake_features import NOW

UPLOADED = "document.uploaded"
_FIRST = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
_SECOND = {"type": "object", "properties": {"name": {"type": "string"}, "pages": {"type": "integer"}}}


def version(number: int, schema: object, subject: str = UPLOADED, kind: SchemaKind = "json") -> SchemaVersion:
    """A version of a schema."""
    made = NOW - timedelta(days=9 - number)
    return SchemaVersion(subject, number, kind, json.dumps(schema), f"{number}" * 64, made, "key:ada")


def envelope(number: int, kind: str = UPLOADED, **changes: str) -> Envelope:
    """The event of that number."""
    made = Envelope(
        place=f"17.{number}",
        type=kind,
        source="/shop",
        id=f"e{number}",
        subject=f"doc-<b>{number}</b>",
        time=NOW - timedelta(seconds=number),
        published=NOW - timedelta(seconds=number),
        principal="key:web-shop",
        correlation="first" if number == 1 else f"e{number}",
        causation="",
        content_type="application/json",
        size=27,
    )
    return replace(made, **changes)  # type: ignore[arg-type]  # texts only


@dataclass
class FakeCatalogue(Events):
    """What was published and what it looks like. `asked` tells what was changed."""

    empty: bool = False
    asked: list[tuple[object, ...]] = field(default_factory=list)
    wanted: list[Selection] = field(default_factory=list)
    held: list[Envelope] = field(default_factory=list)
    versions: list[SchemaVersion] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.empty:
            self.held = [envelope(1), envelope(2, "reading", subject=""), envelope(3, causation="e9")]
            self.versions = [version(1, _FIRST), version(2, _SECOND)]

    async def recent(
        self, ctx: Context, *, selection: Selection | None = None, place: str = "", limit: int = 50
    ) -> Sequence[Envelope]:
        self.wanted.append(selection or Selection())
        types = selection.types if selection is not None else ()
        return [e for e in self.held if place in ("", e.place) and (not types or e.type in types)][:limit]

    async def recall(self, ctx: Context, place: str) -> Recalled:
        found = next((each for each in self.held if each.place == place), None)
        if found is None:
            raise NotFound("the bus holds no event there")
        data = {"name": "<i>secret</i>.pdf"}
        return Recalled(found, Event.of(found.type, found.source, data, subject=found.subject, partitionkey="k"))

    async def subjects(self, ctx: Context) -> Sequence[Subject]:
        if self.empty:
            return ()
        return [Subject(UPLOADED, "json", 2, "full_transitive", True), Subject("reading", "avro", 1, "backward", False)]

    async def schema_versions(self, ctx: Context, subject: str) -> Sequence[SchemaVersion]:
        if subject != UPLOADED or self.empty:
            raise NotFound(f"there is no schema of {subject}")
        return self.versions

    async def schema(self, ctx: Context, subject: str, version: int | None = None) -> SchemaVersion:
        return (await self.schema_versions(ctx, subject))[-1]

    async def judge(self, ctx: Context, subject: str, text: str, *, kind: SchemaKind = "json") -> Judgement:
        self.asked.append(("judge", subject, text))
        clash = Clash("type_narrowed", "#/properties/name/type", "no longer takes <null>", against=1)
        return Judgement("integer" in text, "full_transitive", () if "integer" in text else (clash,))

    async def set_compatibility(
        self, ctx: Context, subject: str, compatibility: Compatibility, *, lenient: bool | None = None
    ) -> Subject:
        if compatibility == "none":
            raise Conflict("not now")
        self.asked.append(("rule", subject, compatibility, lenient))
        return Subject(subject, "json", 2, compatibility, bool(lenient))

    async def catalogue(self, ctx: Context) -> Sequence[EventType]:
        if self.empty:
            return ()
        return [
            EventType("document.archived"),
            EventType(UPLOADED, "A file came", self.versions[-1], ("extract", "audit-trail")),
            EventType("reading", "", version(1, {"type": "record", "name": "R"}, "reading", "avro")),
        ]
