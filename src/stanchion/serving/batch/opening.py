"""Which reader a path wants; each is loaded only when it is needed."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from ...core.errors import InvalidInput, Misconfigured
from .pieces import Source

_KINDS = "Give a .csv or .parquet file, or the folder of a Delta table."


def source_of(path: Path, *, delimiter: str) -> Source:
    """The table at a path. Raises InvalidInput if there is none, Misconfigured where a library is missing."""
    need("pyarrow", "batch")
    if path.is_dir():
        if not (path / "_delta_log").is_dir():
            raise InvalidInput(f"{path.name} is a folder, and no Delta table", next_step=_KINDS)
        need("deltalake", "lake")
        from .delta import DeltaSource

        return DeltaSource(path)
    if not path.is_file():
        raise InvalidInput(f"there is no file {path.name}", next_step=_KINDS)
    if path.suffix == ".parquet":
        from .source import ParquetSource

        return ParquetSource(path)
    if path.suffix in (".csv", ".tsv", ".txt"):
        from .csvfile import CsvSource

        return CsvSource(path, delimiter="\t" if path.suffix == ".tsv" else delimiter)
    raise InvalidInput(f"{path.name} is neither CSV nor Parquet by its name", next_step=_KINDS)


def need(library: str, extra: str) -> None:
    """Raise Misconfigured if a library of an extra is not installed."""
    if find_spec(library) is None:
        raise Misconfigured(
            f"batch inference needs {library}, which is not installed",
            next_step=f"Install it with `pip install stanchion[{extra}]`.",
        )
