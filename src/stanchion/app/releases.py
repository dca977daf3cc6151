"""`stanchion rollout` and `stanchion drill` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
Model = Annotated[str, typer.Argument(help="Name of the model.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the rollout's history.")]
DATA = Path(".stanchion")

rollout = typer.Typer(help="A new version beside the present one: start, promote, take back.", no_args_is_help=True)


class DrillGroup(TyperGroup):
    """`stanchion drill MODEL ...` means `stanchion drill start MODEL ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        if args and not args[0].startswith("-") and args[0] not in self.commands:
            args = ["start", *args]
        return list(super().parse_args(ctx, args))


drill = typer.Typer(help="Rungs that fail on purpose, for a while.", no_args_is_help=True, cls=DrillGroup)


@rollout.command("start")
def rollout_start(
    model: Model,
    model_version: Annotated[str, typer.Argument(help="The new version, such as 1.4.0.", metavar="VERSION")],
    kind: Annotated[str, typer.Option(help="canary, blue_green, shadow or ab.")] = "canary",
    step: Annotated[
        list[str] | None, typer.Option(help="PERCENT:SECONDS:SAMPLES; may be repeated. Default: the kind's usual ones.")
    ] = None,
    guard: Annotated[
        list[str] | None,
        typer.Option(
            help="METRIC:TOLERANCE, slow:TOLERANCE:SECONDS; may be repeated. `:proof` at the end asks for it."
        ),
    ] = None,
    share: Annotated[float, typer.Option(help="Share of the calls that shadow and green are shown.")] = 1.0,
    budget: Annotated[int, typer.Option(help="Calls that the new version may fail in all.")] = 20,
    approval: Annotated[str, typer.Option(help="after or before: when a second person decides.")] = "after",
    by_hand: Annotated[bool, typer.Option("--by-hand", help="Do not promote by itself.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Start a rollout; a running server follows within a second."""
    from .commands.rollouts import started

    raise typer.Exit(
        started(
            model,
            model_version,
            kind=kind,
            steps=step or [],
            guards=guard,
            share=share,
            budget=budget,
            approval=approval,
            automatic=not by_hand,
            data=data,
            json=json,
        )
    )


@rollout.command("list")
def rollout_list(
    model: Annotated[str, typer.Option(help="Of this model alone.")] = "", data: Data = DATA, json: Json = False
) -> None:
    """Rollouts, the newest first."""
    from .commands.rollouts import listed

    raise typer.Exit(listed(model=model, data=data, json=json))


@rollout.command("show")
def rollout_show(model: Model, data: Data = DATA, json: Json = False) -> None:
    """A model's rollout with its guard metrics, effects and history."""
    from .commands.rollouts import shown

    raise typer.Exit(shown(model, data=data, json=json))


@rollout.command("approve")
def rollout_approve(model: Model, data: Data = DATA, json: Json = False) -> None:
    """Let a rollout begin that waits for a second person."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "approve", "", data=data, json=json))


@rollout.command("pause")
def rollout_pause(model: Model, reason: Reason = "", data: Data = DATA, json: Json = False) -> None:
    """Send everything to the present version, for now."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "pause", reason, data=data, json=json))


@rollout.command("resume")
def rollout_resume(model: Model, reason: Reason = "", data: Data = DATA, json: Json = False) -> None:
    """Go on where it was paused."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "resume", reason, data=data, json=json))


@rollout.command("abort")
def rollout_abort(model: Model, reason: Reason = "aborted by hand", data: Data = DATA, json: Json = False) -> None:
    """End a rollout; the present version stays."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "abort", reason, data=data, json=json))


@rollout.command("promote")
def rollout_promote(
    model: Model,
    evidence: Annotated[str, typer.Option(help="What is known besides the observed figures.")] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Put the new version into production now, with the observed figures as evidence."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "promote", evidence, data=data, json=json))


@rollout.command("rollback")
def rollout_rollback(
    model: Model, reason: Reason = "rolled back by hand", data: Data = DATA, json: Json = False
) -> None:
    """Take the new version back: from its share of the traffic, or out of production."""
    from .commands.rollouts import changed

    raise typer.Exit(changed(model, "rollback", reason, data=data, json=json))


@drill.command("start")
def drill_start(
    model: Model,
    rung: Annotated[str, typer.Option(help="primary, simple, rule, cached or default.")] = "primary",
    mode: Annotated[str, typer.Option(help="error, slow or hang.")] = "error",
    share: Annotated[float, typer.Option(help="Share of the rung's calls that are struck, 0 to 1.")] = 1.0,
    duration: Annotated[str, typer.Option("--for", help="How long: 30s, 2m; at most 10m.")] = "30s",
    delay: Annotated[str, typer.Option(help="For slow: how much longer a call takes.")] = "1s",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Let a rung fail on purpose; a running server follows within a second. `stanchion drill MODEL` does the same."""
    from .commands.drill import begun

    raise typer.Exit(
        begun(model, rung=rung, mode=mode, share=share, duration=duration, delay=delay, data=data, json=json)
    )


@drill.command("stop")
def drill_stop(model: Model, data: Data = DATA, json: Json = False) -> None:
    """End the model's drills now."""
    from .commands.drill import ended

    raise typer.Exit(ended(model, data=data, json=json))


@drill.command("list")
def drill_list(data: Data = DATA, json: Json = False) -> None:
    """Drills, running ones first."""
    from .commands.drill import listed

    raise typer.Exit(listed(data=data, json=json))


@drill.command("report")
def drill_report(
    model: Model,
    url: Annotated[str, typer.Option(help="Where the system answers.")] = "http://127.0.0.1:8080",
    key_file: Annotated[
        Path | None, typer.Option(help="File with an admin's key [default: dev.key in the data folder].")
    ] = None,
    features: Annotated[str, typer.Option(help="One instance as JSON [default: made from the input schema].")] = "",
    rate: Annotated[float, typer.Option(help="Predictions a second.")] = 100.0,
    seconds: Annotated[float, typer.Option(help="Length of each phase.")] = 5.0,
    output: Annotated[Path | None, typer.Option(help="PNG to write; needs the extra `train`.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Kill rung after rung of a running system under load, let them recover, and tell what its callers saw."""
    from .commands.drill_report import reported

    raise typer.Exit(
        reported(
            model,
            url=url,
            key_file=key_file or data / "dev.key",
            features=features,
            rate=rate,
            seconds=seconds,
            output=output,
            json=json,
        )
    )
