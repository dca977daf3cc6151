"""`stanchion events` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
DATA = Path(".stanchion")
Consumer = Annotated[str, typer.Argument(help="Name of the consumer.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Event type or pattern; may be repeated.")]
Ids = Annotated[list[str] | None, typer.Option("--id", help="A dead letter; may be repeated [default: all].")]
Rate = Annotated[float | None, typer.Option(help="At most so many events a second.")]
Limit = Annotated[int, typer.Option(help="At most so many events.")]
Since = Annotated[str | None, typer.Option(help="From this moment, such as 2026-01-31T12:00:00Z.")]
Until = Annotated[str | None, typer.Option(help="Up to this moment.")]

events = typer.Typer(help="Events: publish, list, consumers, dead letters, replay, schemas.", no_args_is_help=True)


@events.command("publish")
def events_publish(
    kind: Annotated[str, typer.Argument(help="The event's type, such as document.uploaded.", metavar="TYPE")] = "",
    value: Annotated[str, typer.Option("--value", help="The event's data, as JSON.")] = "",
    source: Annotated[str, typer.Option(help="Where it comes from, as a URI-reference.")] = "/command-line",
    subject: Annotated[str, typer.Option(help="What it is about.")] = "",
    file: Annotated[Path | None, typer.Option(help="A CloudEvent, or a batch of them, as JSON.")] = None,
    after: Annotated[str | None, typer.Option(help="Keep it until this moment.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Publish an event of this type, or the ones in a file."""
    from .commands.events import Wanted, published

    raise typer.Exit(published(Wanted(kind, value, source, subject, file, after), data=data, json=json))


@events.command("list")
def events_list(
    types: Types = None,
    since: Annotated[str, typer.Option(help="Behind this position [default: the first that is kept].")] = "0",
    limit: Limit = 100,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """The events that the bus holds, oldest first."""
    from .commands.events import listed

    raise typer.Exit(listed(types or ["*"], since=since, limit=limit, data=data, json=json))


@events.command("consumers")
def events_consumers(
    pause: Annotated[str, typer.Option(help="Give this consumer nothing more.")] = "",
    resume: Annotated[str, typer.Option(help="Let this consumer go on.")] = "",
    remove: Annotated[
        str, typer.Option(help="Forget this consumer, with what waits for it and its dead letters.")
    ] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Who consumes, how far behind, and how much of it failed; or pause, resume or remove one."""
    from .commands.events import consuming

    raise typer.Exit(consuming(pause=pause, resume=resume, remove=remove, data=data, json=json))


@events.command("dead")
def events_dead(
    consumer: Annotated[str, typer.Option(help="Of this consumer alone.")] = "",
    types: Types = None,
    limit: Limit = 100,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Events that were given up, newest first, with their last error."""
    from .commands.events import dead

    raise typer.Exit(dead(consumer, types or [], limit=limit, data=data, json=json))


@events.command("redrive")
def events_redrive(
    consumer: Consumer,
    ids: Ids = None,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    rate: Rate = None,
    limit: Limit = 10_000,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Give dead letters to their consumer again."""
    from .commands.events import Again, given_again

    chosen = Again(tuple(ids or ()), tuple(types or ()), since, until, rate, limit)
    raise typer.Exit(given_again("redrive", consumer, chosen, data=data, json=json))


@events.command("replay")
def events_replay(
    consumer: Consumer,
    types: Types = None,
    since: Since = None,
    until: Until = None,
    rate: Rate = None,
    limit: Limit = 10_000,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Give a consumer events once more that it has handled."""
    from .commands.events import Again, given_again

    chosen = Again((), tuple(types or ()), since, until, rate, limit)
    raise typer.Exit(given_again("replay", consumer, chosen, data=data, json=json))


@events.command("schemas")
def events_schemas(
    subject: Annotated[str, typer.Argument(help="The event type whose schema is meant.", metavar="[SUBJECT]")] = "",
    register: Annotated[Path | None, typer.Option(help="A schema to register as the next version.")] = None,
    check: Annotated[Path | None, typer.Option(help="A schema to judge without registering it.")] = None,
    kind: Annotated[str, typer.Option(help="json or avro.")] = "json",
    compatibility: Annotated[str | None, typer.Option(help="Judge changes in this way, such as full.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Schemas; or one with its text, a new version of it, or why a change would break."""
    from .commands.schemas import Asked, schemas

    raise typer.Exit(schemas(Asked(subject, register, check, kind, compatibility), data=data, json=json))


@events.command("asyncapi")
def events_asyncapi(
    file: Annotated[Path, typer.Argument(help="The system file.", metavar="FILE")],
    output: Annotated[Path | None, typer.Option(help="File to write [default: standard output].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Write the AsyncAPI document of a system's events."""
    from .commands.schemas import asyncapi

    raise typer.Exit(asyncapi(file, output=output, json=json))
