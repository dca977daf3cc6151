"""`stanchion events`: events published and listed, consumers, dead letters, and events given out once more."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput
from ...events import Delivered, Event, Events, Redriven, Selection, parse, render
from .office import DONE, Options, opened, operator, run, show, table

_QUIET = 1.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to publish."""

    type: str
    value: str
    source: str
    subject: str
    file: Path | None
    after: str | None


@dataclass(frozen=True, slots=True)
class Again:
    """Which events are given out once more."""

    ids: tuple[str, ...]
    types: tuple[str, ...]
    since: str | None
    until: str | None
    rate: float | None
    limit: int


def options_of(data: Path, json: bool) -> Options:
    """Options of a command that handles nothing itself: handlers, webhooks and bridges are the server's."""
    return Options(data=data, json=json, flags={"events": {"workers": False, "mqtt_url": ""}})


@asynccontextmanager
async def bus(options: Options) -> AsyncIterator[tuple[Events, Context]]:
    """The bus of the data folder, and the operator's Context."""
    async with opened(options, only=("events",)) as house:
        await house.start()
        yield house.door(Events), operator(house.settings.tenant)


def published(wanted: Wanted, *, data: Path, json: bool) -> int:
    """Publish; the exit code."""
    options = options_of(data, json)

    async def work() -> int:
        events, after = _events(wanted), moment("after", wanted.after)
        async with bus(options) as (door, ctx):
            receipts = await door.publish(ctx, events, after=after)
        show(options, receipts, lambda: "\n".join(f"{each.state} {each.source} {each.id}" for each in receipts))
        return DONE

    return run(options, work)


def _events(wanted: Wanted) -> list[Event]:
    if wanted.file is not None:
        return list(parse(wanted.file.read_bytes()))
    if not wanted.type:
        raise InvalidInput("no event type is named", next_step="Name one such as document.uploaded, or a --file.")
    if wanted.value:
        try:
            msgspec.json.decode(wanted.value)
        except msgspec.DecodeError as error:
            raise InvalidInput(f"--value is no JSON: {error}", next_step="Write it as '{\"key\": 1}'.") from error
    content_of = wanted.value.encode() or None
    return [Event(type=wanted.type, source=wanted.source, subject=wanted.subject, data=content_of)]


def listed(types: Sequence[str], *, since: str, limit: int, data: Path, json: bool) -> int:
    """List; the exit code."""
    options = options_of(data, json)

    async def work() -> int:
        async with bus(options) as (door, ctx):
            found = await _held(door, ctx, types, since, limit)
        rows = [
            (e.position, f"{e.published:%Y-%m-%d %H:%M:%S}", e.event.type, e.event.source, e.event.id) for e in found
        ]
        documents = [{"position": e.position, "event": msgspec.Raw(render(e.event))} for e in found]
        show(options, documents, lambda: table(("POSITION", "PUBLISHED", "TYPE", "SOURCE", "ID"), rows))
        return DONE

    return run(options, work)


async def _held(door: Events, ctx: Context, types: Sequence[str], since: str, limit: int) -> list[Delivered]:
    """Events behind the position, until no more comes."""
    found: list[Delivered] = []
    events = door.follow(ctx, types=types, since=since)
    with suppress(TimeoutError, StopAsyncIteration):
        while len(found) < limit:
            async with asyncio.timeout(_QUIET):
                found.append(await anext(events))
    return found


def consuming(*, pause: str, resume: str, remove: str, data: Path, json: bool) -> int:
    """Pause, resume or remove where that is asked, and list; the exit code."""
    options = options_of(data, json)

    async def work() -> int:
        async with bus(options) as (door, ctx):
            if pause:
                await door.pause(ctx, pause)
            if resume:
                await door.resume(ctx, resume)
            if remove:
                await door.remove(ctx, remove)
            found = await door.consumers(ctx)
        head = ("CONSUMER", "TYPES", "STATE", "BEHIND", "WAITING", "DEAD", "HOLDERS")
        rows = [
            (e.name, " ".join(e.types), "paused" if e.paused else "active", e.behind, e.waiting, e.dead, e.holders)
            for e in found
        ]
        show(options, found, lambda: table(head, rows))
        return DONE

    return run(options, work)


def dead(consumer: str, types: Sequence[str], *, limit: int, data: Path, json: bool) -> int:
    """List dead letters; the exit code."""
    options = options_of(data, json)

    async def work() -> int:
        async with bus(options) as (door, ctx):
            found = await door.dead(ctx, consumer=consumer, selection=Selection(types=tuple(types)), limit=limit)
        rows = [(e.id, e.consumer, e.event.type, e.event.id, e.attempts, e.error[:80]) for e in found]
        documents: list[dict[str, Any]] = [
            {
                "id": e.id,
                "consumer": e.consumer,
                "event": msgspec.Raw(render(e.event)),
                "attempts": e.attempts,
                "error": e.error,
                "at": e.at,
                "history": e.history,
            }
            for e in found
        ]
        show(options, documents, lambda: table(("ID", "CONSUMER", "TYPE", "EVENT", "ATTEMPTS", "ERROR"), rows))
        return DONE

    return run(options, work)


def given_again(verb: Literal["redrive", "replay"], consumer: str, chosen: Again, *, data: Path, json: bool) -> int:
    """Give dead letters, or handled events, to their consumer again; the exit code."""
    options = options_of(data, json)

    async def work() -> int:
        selection = Selection(
            ids=chosen.ids,
            types=chosen.types,
            since=moment("since", chosen.since),
            until=moment("until", chosen.until),
        )
        async with bus(options) as (door, ctx):
            again = door.redrive if verb == "redrive" else door.replay
            done: Redriven = await again(ctx, consumer, selection, rate=chosen.rate, limit=chosen.limit)
        more = "; there are more" if done.more else ""
        show(options, done, lambda: f"{done.number} events go to {consumer} again{more}")
        return DONE

    return run(options, work)


def moment(name: str, given: str | None) -> datetime | None:
    """A moment of the command line; what names no offset is in UTC. Raises InvalidInput."""
    if given is None:
        return None
    try:
        found = datetime.fromisoformat(given)
    except ValueError as error:
        raise InvalidInput(
            f"--{name} is no moment: {given!r}", next_step="Write it as 2026-01-31 or 2026-01-31T12:00:00Z."
        ) from error
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)
