"""`stanchion batch` and `stanchion batches`: whole tables predicted, and the jobs that do it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file, such as examples/churn/system.py.", metavar="FILE")]
DATA = Path(".stanchion")

batches = typer.Typer(help="Batch jobs: list, show, cancel.", no_args_is_help=True)


def batch(
    file: File,
    model: Annotated[str, typer.Argument(help="name, name@alias or name@1.4.0")],
    source: Annotated[Path, typer.Option("--input", help="CSV or Parquet file, or the folder of a Delta table.")],
    output: Annotated[Path, typer.Option(help="File to write, .parquet or .csv.")],
    chunk: Annotated[int, typer.Option(help="Rows worked on at once.")] = 50_000,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with a job that was interrupted.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an output that exists.")] = False,
    key: Annotated[str, typer.Option(help="Name of the job [default: made of all that decides its result].")] = "",
    keep: Annotated[list[str] | None, typer.Option(help="A column to copy to the output; may be repeated.")] = None,
    extra: Annotated[str, typer.Option(help="Columns the model does not know: refuse, ignore or keep.")] = "refuse",
    reference: Annotated[Path | None, typer.Option(help="Table to compare with [default: the training's].")] = None,
    most_bad: Annotated[float, typer.Option(help="Share of rows that may be quarantined.")] = 0.5,
    delimiter: Annotated[str, typer.Option(help="What separates the cells of a CSV file.")] = ",",
    threads: Annotated[int, typer.Option(help="Threads to predict on [default: one for each core].")] = 0,
    time: Annotated[str, typer.Option(help="Column of each row's moment, by which lacking features are joined.")] = "",
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Predict a whole table: chunk by chunk, resumable, with bad rows set aside and drift told."""
    from .commands.batch import Told, batched

    told = Told(
        source, output, chunk, resume, overwrite, key, keep or [], extra, reference, most_bad, delimiter, threads, time
    )
    raise typer.Exit(batched(file, model, told, data=data, json=json))


@batches.command("list")
def batches_list(data: Data = DATA, json: Json = False) -> None:
    """The newest batch jobs and how they stand."""
    from .commands.batch import listed

    raise typer.Exit(listed(data=data, json=json))


@batches.command("show")
def batches_show(
    job: Annotated[str, typer.Argument(help="The job's id.")], data: Data = DATA, json: Json = False
) -> None:
    """One job with its report, or with what went wrong."""
    from .commands.batch import shown

    raise typer.Exit(shown(job, data=data, json=json))


@batches.command("cancel")
def batches_cancel(
    job: Annotated[str, typer.Argument(help="The job's id.")], data: Data = DATA, json: Json = False
) -> None:
    """Stop a job; its output never appears."""
    from .commands.batch import cancelled

    raise typer.Exit(cancelled(job, data=data, json=json))
