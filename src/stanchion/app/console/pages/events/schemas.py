"""The catalogue: every type of event with its schema and who handles it; a schema's versions and how they differ."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import quote

import msgspec
from starlette.requests import Request
from starlette.responses import Response

from .....core.context import Context
from .....core.errors import InvalidInput, NotFound, StanchionError
from .....events import Compatibility, EventType, SchemaVersion, Subject
from ...assets import BASE
from ...flash import Flash
from ...forms import whole
from ...rendering import query
from ...shell import Shell
from .room import HOME, door

_MOST, _VERSIONS, _LINES = 90, 40, 800
_LONGEST = 40_000
RULES: tuple[Compatibility, ...] = get_args(Compatibility)
CATALOGUE = f"{HOME}/schemas"
Kind = Literal["in", "out", "same", "gap"]
_KINDS: Mapping[str, Kind] = {"+": "in", "-": "out"}


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the difference between two versions."""

    kind: Kind
    text: str


@dataclass(frozen=True, slots=True)
class Entry:
    """One type of the catalogue, with how changes of its schema are judged."""

    type: EventType
    subject: Subject | None


async def page(shell: Shell, request: Request, ctx: Context) -> Response:
    """Every type that is declared, handled or has a schema."""
    return shell.page(request, "schemas.html", **await _listed(shell, ctx), live=f"{BASE}/fragments/events-schemas")


async def fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """The catalogue's rows alone."""
    return shell.fragment(request, "_schemas.html", **await _listed(shell, ctx))


async def subject(shell: Shell, request: Request, ctx: Context) -> Response:
    """One schema: its newest or a chosen version, and what changed since another."""
    return await _show(shell, request, ctx)


async def subject_fragment(shell: Shell, request: Request, ctx: Context) -> Response:
    """Its versions and their difference as they are by now."""
    return shell.fragment(request, "_schema.html", **await _subject(shell, request, ctx))


async def change(shell: Shell, request: Request, ctx: Context, form: Mapping[str, str]) -> Response:
    """Judge a text against the rule, or judge changes by another rule from now on."""
    name, what = request.path_params["subject"], form.get("what", "")
    try:
        if what == "judge":
            judged = await door(shell).judge(ctx, name, form.get("text", ""), kind=await _kind(shell, ctx, name))
            return await _show(shell, request, ctx, judged=judged, given=form)
        rule = next((each for each in RULES if each == form.get("compatibility")), None)
        if what != "rule" or rule is None:
            raise InvalidInput("nothing was chosen to be done", next_step="Use the buttons of the page.")
        await door(shell).set_compatibility(ctx, name, rule, lenient=form.get("lenient") == "yes")
    except NotFound:
        raise
    except StanchionError as error:
        return await _show(shell, request, ctx, error=error, given=form)
    return shell.leave(request, address(name), Flash("ok", f"Changes of {name} are judged {rule} from now on."))


def address(name: str) -> str:
    """The page of a subject."""
    return f"{CATALOGUE}/{quote(name)}"


def difference(old: str, new: str) -> list[Line]:
    """What changed from one text to the other: changed lines with three around them, at most 800."""
    found: list[Line] = []
    for text in difflib.unified_diff(_lines(old), _lines(new), lineterm="", n=3):
        if text.startswith(("---", "+++")):
            continue
        if text.startswith("@@"):
            found += [Line("gap", "…")] if found else []
        else:
            found.append(Line(_KINDS.get(text[0], "same"), text[1:]))
    return found[:_LINES]


async def _show(
    shell: Shell,
    request: Request,
    ctx: Context,
    *,
    error: StanchionError | None = None,
    judged: object = None,
    given: Mapping[str, str] = {},
) -> Response:
    content = await _subject(shell, request, ctx)
    name = request.path_params["subject"]
    asked = query(version=content["shown"].version, against=content["against"] and content["against"].version)
    live = f"{BASE}/fragments/events-schemas/{quote(name)}{asked}"
    return shell.page(
        request, "schema.html", error=error, **content, judged=judged, given=given, rules=RULES, live=live
    )


async def _subject(shell: Shell, request: Request, ctx: Context) -> dict[str, Any]:
    name = request.path_params["subject"]
    versions = await door(shell).schema_versions(ctx, name)
    subjects = await door(shell).subjects(ctx)
    types = await door(shell).catalogue(ctx)
    shown = _chosen(versions, request.query_params.get("version", "")) or versions[-1]
    before = [each for each in versions if each.version < shown.version]
    against = _chosen(versions, request.query_params.get("against", "")) or (before[-1] if before else None)
    return {
        "name": name,
        "address": address(name),
        "versions": versions[::-1][:_VERSIONS],
        "subject": next((each for each in subjects if each.name == name), None),
        "shown": shown,
        "against": against,
        "text": "\n".join(_lines(shown.text))[:_LONGEST],
        "lines": difference(against.text, shown.text) if against is not None and against != shown else (),
        "handlers": next((each.handlers for each in types if each.type == name), ()),
    }


def _chosen(versions: Sequence[SchemaVersion], text: str) -> SchemaVersion | None:
    number = whole(text, name="the version", least=1, most=2**31)
    found = next((each for each in versions if each.version == number), None)
    if number is not None and found is None:
        raise NotFound(f"there is no version {number} of this schema")
    return found


async def _kind(shell: Shell, ctx: Context, name: str) -> Any:
    return (await door(shell).schema(ctx, name)).kind


async def _listed(shell: Shell, ctx: Context) -> dict[str, Any]:
    types = await door(shell).catalogue(ctx)
    rules = {each.name: each for each in await door(shell).subjects(ctx)}
    entries = [Entry(each, rules.get(each.type)) for each in types]
    return {
        "entries": entries[:_MOST],
        "left_out": max(0, len(entries) - _MOST),
        "totals": {
            "types": len(types),
            "schemas": len(rules),
            "without": sum(each.schema is None for each in types),
            "unhandled": sum(not each.handlers for each in types),
        },
        "address": address,
    }


def _lines(text: str) -> list[str]:
    return msgspec.json.format(text.encode(), indent=2).decode().splitlines()
