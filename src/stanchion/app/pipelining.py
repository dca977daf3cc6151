"""`stanchion pipelines`, `stanchion runs` and `stanchion worker`: durable work from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file.", metavar="FILE")]
Name = Annotated[str, typer.Argument(help="Name of a declared pipeline.", metavar="PIPELINE")]
RunId = Annotated[str, typer.Argument(help="The run's id.", metavar="RUN")]
DATA = Path(".stanchion")

pipelines = typer.Typer(help="Pipelines: run one, make up for a range, draw it.", no_args_is_help=True)
runs = typer.Typer(help="Runs: list, show, resume, cancel, fork.", no_args_is_help=True)


@pipelines.command("run")
def pipelines_run(
    file: File,
    pipeline: Name,
    inputs: Annotated[str, typer.Option(help="The inputs as JSON.")] = "{}",
    key: Annotated[str | None, typer.Option(help="Used before: the earlier run is continued.")] = None,
    dry: Annotated[bool, typer.Option("--dry", help="Leave out stages that have an effect.")] = False,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Run a pipeline here, to its end; killed and called again with the same key it goes on where it was."""
    from .commands.pipelines import ran

    raise typer.Exit(ran(file, pipeline, inputs, key=key, dry=dry, data=data, json=json))


@pipelines.command("backfill")
def pipelines_backfill(
    file: File,
    pipeline: Name,
    start: Annotated[str, typer.Option(help="First day or moment, such as 2026-01-01.")],
    end: Annotated[str, typer.Option(help="The day or moment before which it ends.")],
    parallel: Annotated[int, typer.Option(help="Partitions made at once.")] = 2,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Run a scheduled pipeline for each moment of a range; what was made before is not made again."""
    from .commands.pipelines import backfilled

    raise typer.Exit(backfilled(file, pipeline, start=start, end=end, parallel=parallel, data=data, json=json))


@pipelines.command("graph")
def pipelines_graph(
    file: File,
    pipeline: Name,
    output: Annotated[Path | None, typer.Option(help="File for the picture (SVG) [default: standard output].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Draw a pipeline's graph."""
    from .commands.pipelines import graphed

    raise typer.Exit(graphed(file, pipeline, output=output, data=data, json=json))


@runs.command("list")
def runs_list(
    pipeline: Annotated[str | None, typer.Option(help="Of this pipeline.")] = None,
    status: Annotated[str | None, typer.Option(help="queued, running, waiting, done, failed or cancelled.")] = None,
    limit: Annotated[int, typer.Option(help="At most so many.")] = 50,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Runs, newest first."""
    from .commands.runs import listed

    raise typer.Exit(listed(pipeline=pipeline, status=status, limit=limit, data=data, json=json))


@runs.command("show")
def runs_show(
    run: RunId,
    record: Annotated[str | None, typer.Option(help="What happened to this record (needs --system).")] = None,
    system: Annotated[Path | None, typer.Option(help="The system file that declares the pipeline.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """One run: its steps with times and errors, and the rows that were set aside."""
    from .commands.runs import shown

    raise typer.Exit(shown(run, record=record, system=system, data=data, json=json))


@runs.command("resume")
def runs_resume(
    run: RunId,
    adopt: Annotated[Path | None, typer.Option(help="Go on with the code of this system file.")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Let a failed or cancelled run go on from its last good step, in a server or worker."""
    from .commands.runs import resumed

    raise typer.Exit(resumed(run, adopt=adopt, data=data, json=json))


@runs.command("cancel")
def runs_cancel(run: RunId, data: Data = DATA, json: Json = False) -> None:
    """Stop a run and those it began; what can be undone is undone by who runs it."""
    from .commands.runs import cancelled

    raise typer.Exit(cancelled(run, data=data, json=json))


@runs.command("fork")
def runs_fork(
    file: File,
    run: RunId,
    stage: Annotated[str, typer.Argument(help="The first stage that is done anew.")],
    data: Data = DATA,
    json: Json = False,
) -> None:
    """A new run with the present code that takes over what came before a stage."""
    from .commands.runs import forked

    raise typer.Exit(forked(file, run, stage, data=data, json=json))


def worker(
    file: File,
    queues: Annotated[str | None, typer.Option(help="Queues to take runs from, by comma [default: all].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Work on runs and events without serving HTTP, until SIGTERM; any number may work on one database."""
    from .commands.worker import worked

    raise typer.Exit(worked(file, queues=queues, data=data, json=json))
