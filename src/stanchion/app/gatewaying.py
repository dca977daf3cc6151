"""`stanchion gateway`: cascades calibrated, routers trained, prompts and models compared, routes brought back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file.", metavar="FILE")]
Route = Annotated[str, typer.Argument(help="The route's name.")]
DATA = Path(".stanchion")

gateway = typer.Typer(help="The gateway: cascades, routers, comparisons, former routes.", no_args_is_help=True)


@gateway.command("calibrate")
def gateway_calibrate(
    file: File,
    cascade: Annotated[str, typer.Argument(help="The cascade's name.")],
    examples: Annotated[Path, typer.Option(help='JSON lines: {"question": ..., "expected": ...}.')],
    floor: Annotated[float, typer.Option(help="The share of right answers to be kept, 0 to 1.")],
    confidence: Annotated[float, typer.Option(help="How sure the floor is to hold for such questions.")] = 0.95,
    output: Annotated[Path | None, typer.Option(help="File for the thresholds.")] = None,
    picture: Annotated[Path | None, typer.Option(help="File for the picture of cost against quality (PNG).")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Ask every model of a cascade labelled questions, and find the thresholds that keep a quality floor."""
    from .commands.cascades import Wanted, calibrated

    wanted = Wanted(cascade, examples, floor, confidence, output, picture)
    raise typer.Exit(calibrated(file, wanted, data=data, json=json))


@gateway.command("train-router")
def gateway_train_router(
    outcomes: Annotated[Path, typer.Option(help='JSON lines: {"question": ..., "good": true or false}.')],
    output: Annotated[Path, typer.Option(help="File for the router.")],
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Learn from outcomes which questions the cheap model answers well."""
    from .commands.cascades import router_trained

    raise typer.Exit(router_trained(outcomes, output, data=data, json=json))


@gateway.command("compare")
def gateway_compare(
    prompt: Annotated[str, typer.Option(help="Compare the versions of this prompt.")] = "",
    route: Annotated[str, typer.Option(help="Or the models of this route.")] = "",
    days: Annotated[int, typer.Option(min=1, max=400, help="How many days back, today among them.")] = 7,
    score: Annotated[str, typer.Option(help="The scale of scores.")] = "score",
    baseline: Annotated[str, typer.Option(help="The variant that others are held against; unset: the busiest.")] = "",
    confidence: Annotated[float, typer.Option(help="How sure the intervals are.")] = 0.95,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Versions of a prompt or models of a route by cost, latency and score, with confidence intervals."""
    from .commands.comparisons import Asked, compared

    raise typer.Exit(compared(Asked(prompt, route, days, score, baseline, confidence), data=data, json=json))


@gateway.command("history")
def gateway_history(file: File, route: Route, data: Data = DATA, json: Json = False) -> None:
    """Show who changed a route when, and what."""
    from .commands.route_versions import told

    raise typer.Exit(told(file, route, data=data, json=json))


@gateway.command("restore")
def gateway_restore(
    file: File,
    route: Route,
    version: Annotated[int, typer.Argument(min=0, help="The version to bring back; 0 is the declared route.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Tell what would change, and change nothing.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Bring back a former version of a route, as a new one. A running server follows."""
    from .commands.route_versions import restored

    raise typer.Exit(restored(file, route, version, dry_run=dry_run, data=data, json=json))
