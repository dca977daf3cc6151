"""`stanchion features` on the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Data = Annotated[Path, typer.Option("--data", help="Folder that holds all state.")]
Json = Annotated[bool, typer.Option("--json", help="One JSON document instead of text for people.")]
File = Annotated[Path, typer.Argument(help="The system file, such as examples/churn/system.py.", metavar="FILE")]
DATA = Path(".stanchion")

features = typer.Typer(help="Feature views: materialise, backfill, import.", no_args_is_help=True)


@features.command("materialise")
def features_materialise(
    file: File,
    view: Annotated[str, typer.Argument(help="Name of a declared feature view.")],
    start: Annotated[
        str | None, typer.Option(help="From this moment, such as 2026-01-31 [default: where the last run ended].")
    ] = None,
    end: Annotated[str | None, typer.Option(help="Up to this moment [default: now].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Bring a view's online values up to date from its source; killed, it resumes where it stopped."""
    from .commands.features import materialised

    raise typer.Exit(materialised(file, view, start=start, end=end, data=data, json=json))


@features.command("backfill")
def features_backfill(
    file: File,
    view: Annotated[str, typer.Argument(help="Name of a declared feature view.")],
    start: Annotated[str, typer.Option(help="From this moment, such as 2026-01-31.")],
    end: Annotated[str | None, typer.Option(help="Up to this moment [default: now].")] = None,
    data: Data = DATA,
    json: Json = False,
) -> None:
    """Store a stretch of a view's source again, after rows were corrected that no column says are new."""
    from .commands.features import materialised

    raise typer.Exit(materialised(file, view, start=start, end=end, data=data, json=json))


@features.command("import-feast")
def features_import_feast(
    registry: Annotated[Path, typer.Argument(help="Feast's registry file, such as registry.db.")],
    out: Annotated[Path | None, typer.Option(help="The file to write [default: standard output].")] = None,
    data: Annotated[Path, typer.Option("--data", help="Taken as by every command; nothing is stored.")] = DATA,
    json: Json = False,
) -> None:
    """Write a Feast registry's sources, views and services as declarations in Python. Nothing of it is run."""
    from .commands.feast import imported

    raise typer.Exit(imported(registry, out=out, json=json))
