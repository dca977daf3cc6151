"""`stanchion reviews`: what waits for people, decided at a terminal, its figures and its data sets."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file that declares the queue.", metavar="FILE")]
Item = Annotated[str, typer.Argument(help="The item's id.")]
Queue = Annotated[str, typer.Argument(help="The queue's name.")]
DATA = Path(".stanchion")

reviews = typer.Typer(help="Reviews: list, show, decide, statistics, export, erase.", no_args_is_help=True)


@reviews.command("list")
def reviews_list(
    queue: Annotated[str, typer.Option(help="Of this queue only.")] = "",
    status: Annotated[list[str] | None, typer.Option(help="In this state only; may be repeated.")] = None,
    limit: Annotated[int, typer.Option(help="The most items to list.")] = 50,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Items without their content, the most urgent first."""
    from .commands.reviews import listed

    raise typer.Exit(listed(queue, status or [], limit, data=data, json=json))


@reviews.command("show")
def reviews_show(file: File, item: Item, data: Data = DATA, json: Json = False) -> None:
    """One item with all that its reviewer sees."""
    from .commands.reviews import shown

    raise typer.Exit(shown(file, item, data=data, json=json))


@reviews.command("decide")
def reviews_decide(
    file: File,
    item: Item,
    verdict: Annotated[str, typer.Argument(help="approve, edit, reject or escalate.")],
    digest: Annotated[str, typer.Option(help="The digest that `show` printed; what differs from it is refused.")],
    reason: Annotated[str, typer.Option(help="A reason code of the queue.")] = "",
    note: Annotated[str, typer.Option(help="Words for those who look at it later.")] = "",
    value: Annotated[str, typer.Option(help="The corrected proposal as JSON, for `edit`.")] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Take an item and decide it."""
    from .commands.reviews import Verdicts, decided

    raise typer.Exit(decided(file, item, Verdicts(verdict, digest, reason, note, value), data=data, json=json))


@reviews.command("statistics")
def reviews_statistics(file: File, queue: Queue, data: Data = DATA, json: Json = False) -> None:
    """A queue's figures: time, verdicts, agreement, accuracy, each reviewer's work."""
    from .commands.reviews import figures

    raise typer.Exit(figures(file, queue, data=data, json=json))


@reviews.command("export")
def reviews_export(
    file: File,
    queue: Queue,
    output: Annotated[Path, typer.Option(help="File to write, one JSON document a line.")],
    version: Annotated[int, typer.Option(help="A version [default: the newest, made now if decisions came].")] = 0,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Write the decisions of a queue as a data set with its provenance and digest."""
    from .commands.reviews import exported

    raise typer.Exit(exported(file, queue, version, output, data=data, json=json))


@reviews.command("erase")
def reviews_erase(
    file: File,
    item: Item,
    reason: Annotated[str, typer.Option(help="Why, such as a request's number; kept in the audit log.")] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask first.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Erase an item that has ended, for good, with its copies among the similar cases of others."""
    from .commands.reviews import erased

    if not yes:
        typer.confirm(f"Erase {item} for good?", abort=True, err=True)
    raise typer.Exit(erased(file, item, reason, data=data, json=json))
