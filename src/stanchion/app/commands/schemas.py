"""`stanchion events schemas` and `stanchion events asyncapi`."""

from __future__ import annotations

import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast, get_args

import msgspec

from ... import __version__
from ...core.context import Context
from ...core.errors import InvalidInput
from ...events import Compatibility, Events, Judgement, SchemaKind, SchemaVersion
from ...events import asyncapi as document
from .events import bus, options_of
from .office import DONE, FAILED, Options, opened, operator, run, show, table
from .openapi import NOWHERE


@dataclass(frozen=True, slots=True)
class Asked:
    """What to do with which schema."""

    subject: str
    register: Path | None
    check: Path | None
    kind: str
    compatibility: str | None


def schemas(asked: Asked, *, data: Path, json: bool) -> int:
    """List, show, judge or register; the exit code, 1 where a change would break."""
    options = options_of(data, json)

    async def work() -> int:
        kind = cast(SchemaKind, _one("kind", asked.kind, get_args(SchemaKind)))
        rule = asked.compatibility
        if rule is not None:
            _one("compatibility", rule, get_args(Compatibility))
        if not asked.subject and (asked.register or asked.check or rule):
            raise InvalidInput("no schema is named", next_step="Name the event type whose schema is meant.")
        async with bus(options) as (door, ctx):
            return await _done(options, asked, door, ctx, kind, cast("Compatibility | None", rule))

    return run(options, work)


async def _done(
    options: Options, asked: Asked, door: Events, ctx: Context, kind: SchemaKind, rule: Compatibility | None
) -> int:
    if asked.check is not None:
        judged = await door.judge(ctx, asked.subject, asked.check.read_text(encoding="utf-8"), kind=kind)
        show(options, judged, lambda: _judged(judged))
        return DONE if judged.compatible else FAILED
    if asked.register is not None:
        text = asked.register.read_text(encoding="utf-8")
        made = await door.register(ctx, asked.subject, text, kind=kind, compatibility=rule)
        show(options, made, lambda: f"{made.subject} version {made.version}")
        return DONE
    if rule is not None:
        await door.set_compatibility(ctx, asked.subject, rule)
    if asked.subject:
        found = await door.schema(ctx, asked.subject)
        show(options, found, lambda: _shown(found))
        return DONE
    listed = await door.subjects(ctx)
    rows = [(e.name, e.kind, e.newest, e.compatibility, "lenient" if e.lenient else "strict") for e in listed]
    show(options, listed, lambda: table(("SUBJECT", "KIND", "VERSION", "COMPATIBILITY", "UNDECLARED"), rows))
    return DONE


def asyncapi(file: Path, *, output: Path | None, json: bool) -> int:
    """Write the document; no state is read or made."""

    async def work() -> int:
        async with opened(options, file=file, only=("events",)) as house:
            await house.start()
            types = await house.door(Events).catalogue(operator(house.settings.tenant))
            name = house.declared.name if house.declared is not None else "stanchion"
        made = document(name, __version__, types)
        text = msgspec.json.format(msgspec.json.encode(made), indent=2) + b"\n"
        if output is None:
            sys.stdout.buffer.write(text)
        else:
            output.write_bytes(text)
            number = len(made["channels"])
            show(options, {"types": number, "file": str(output)}, lambda: f"{number} event types written to {output}")
        return DONE

    with tempfile.TemporaryDirectory() as folder:
        flags: dict[str, Any] = {**NOWHERE, "events": {"bus": "database", "workers": False, "mqtt_url": ""}}
        options = Options(data=Path(folder), json=json, flags=flags)
        return run(options, work)


def _one(name: str, given: str, known: tuple[str, ...]) -> str:
    if given not in known:
        raise InvalidInput(f"--{name} is none of {', '.join(known)}: {given!r}")
    return given


def _judged(found: Judgement) -> str:
    if found.compatible:
        return f"nothing breaks ({found.compatibility})"
    rows = [(e.path, e.reason, e.against, e.message) for e in found.clashes]
    return table(("PATH", "REASON", "VERSION", "WHAT"), rows)


def _shown(found: SchemaVersion) -> str:
    text = msgspec.json.format(found.text.encode(), indent=2).decode()
    return f"{found.subject} version {found.version} ({found.kind}), {found.made_by}\n{text}"
