"""Where a source's rows lie: files, Delta tables and SQL databases, as relations of the offline engine."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import InvalidInput, Misconfigured, Unavailable
from ..contract import SourceSpec, Table
from ..windows.plan import Kind, kinds_of
from ..windows.values import inner

if TYPE_CHECKING:
    import pyarrow

_PAGE = 20_000
_WILD = "*?["


def local(table: Table, home: Path) -> Path:
    """The path of a file table; a relative one lies beside the system file. Raises Misconfigured for a URL."""
    if "://" in table.place:
        raise Misconfigured(f"{table.place} is no path", next_step="Name files of this machine.")
    return home / Path(table.place).expanduser()


def readable(table: Table, home: Path) -> tuple[list[str], list[str]]:
    """The folders and the files that reading the table needs."""
    if table.format not in ("parquet", "csv"):
        return [], []
    path = local(table, home)
    parts = path.parts
    wild = next((i for i, part in enumerate(parts) if any(mark in part for mark in _WILD)), None)
    if wild is not None:
        return [str(Path(*parts[:wild]))], []
    return ([str(path)], []) if path.is_dir() else ([], [str(path)])


def version(table: Table, home: Path) -> tuple[tuple[str, int, int, int], ...] | None:
    """What changes whenever the table's files do; None where that cannot be told."""
    if table.format not in ("parquet", "csv"):
        return None
    path = local(table, home)
    if path.is_dir():
        files = sorted(path.glob(f"*.{table.format}"))
    else:
        wild = next((i for i, part in enumerate(path.parts) if any(mark in part for mark in _WILD)), None)
        if wild is not None:
            return None
        files = [path]
    found = [(file, file.stat()) for file in files]
    return tuple((str(file), each.st_mtime_ns, each.st_size, each.st_ino) for file, each in found)


def scan(source: SourceSpec, table: Table, home: Path) -> str:
    """The SQL that reads files."""
    path = local(table, home)
    place = _text(str(path / f"*.{table.format}") if path.is_dir() else str(path))
    if table.format == "parquet":
        return f"read_parquet({place}, union_by_name = true)"
    kinds = kinds_of(source.row)
    types = ", ".join(f"{_text(name)}: {_text(TYPES[kind])}" for name, kind in kinds.items())
    return f"read_csv({place}, header = true, union_by_name = true, types = {{{types}}})"


def delta(table: Table, home: Path) -> Any:
    """The Delta table as an Arrow dataset, at its pinned version. Raises Unavailable, Misconfigured."""
    try:
        from deltalake import DeltaTable
        from deltalake.exceptions import DeltaError
    except ModuleNotFoundError as error:
        raise Misconfigured(
            "Delta tables need the extra `lake`", next_step="Run `pip install 'stanchion[lake]'`."
        ) from error
    path = local(table, home)
    try:
        return DeltaTable(str(path), version=table.version).to_pyarrow_dataset()
    except (DeltaError, OSError) as error:
        raise Unavailable(f"the Delta table {table.place} cannot be read: {error}") from error


def database(source: SourceSpec, table: Table, address: str) -> Iterator[pyarrow.Table]:
    """The rows of a query in pages, the first of which is empty. Raises Unavailable, Misconfigured, InvalidInput."""
    import pyarrow
    from sqlalchemy import create_engine, make_url, text
    from sqlalchemy.exc import ArgumentError, SQLAlchemyError

    kinds = kinds_of(source.row)
    schema = arrow_schema(kinds)
    try:
        url = make_url(address)
        url = url.set(drivername="postgresql+psycopg") if url.drivername == "postgresql" else url
        engine = create_engine(url, hide_parameters=True)
    except (ArgumentError, ImportError) as error:
        raise Misconfigured(f"the address of the source {source.name} names no database that can be read") from error
    yield schema.empty_table()
    try:
        with engine.connect() as link:
            found = link.execution_options(stream_results=True, yield_per=_PAGE).execute(text(table.place))
            for page in found.mappings().partitions(_PAGE):
                columns = {name: [_plain(kind, row.get(name)) for row in page] for name, kind in kinds.items()}
                yield pyarrow.Table.from_pydict(columns, schema)
    except SQLAlchemyError as error:
        raise Unavailable(f"the source {source.name} cannot be read: {type(error).__name__}") from error
    except (pyarrow.ArrowException, TypeError, ValueError) as error:
        raise InvalidInput(f"a row of the source {source.name} is not as declared: {error}") from error
    finally:
        engine.dispose()


def arrow_schema(kinds: Mapping[str, Kind]) -> pyarrow.Schema:
    """The Arrow types of a source's columns."""
    import pyarrow

    types = {
        "int": pyarrow.int64(),
        "float": pyarrow.float64(),
        "bool": pyarrow.bool_(),
        "text": pyarrow.string(),
        "moment": pyarrow.timestamp("us", tz="UTC"),
        "day": pyarrow.date32(),
        "json": pyarrow.string(),
    }
    return pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])


def _plain(kind: Kind, value: Any) -> Any:
    """A driver's value as Arrow takes it: some give moments and days as text, and fractions as decimals."""
    match kind:
        case "moment":
            return inner(kind, value)
        case "day":
            return date.fromisoformat(value) if isinstance(value, str) else value
        case "float":
            return None if value is None else float(value)
        case "json":
            return value if value is None or isinstance(value, str) else msgspec.json.encode(value).decode()
        case _:
            return value


TYPES: Mapping[Kind, str] = {
    "int": "BIGINT",
    "float": "DOUBLE",
    "bool": "BOOLEAN",
    "text": "VARCHAR",
    "moment": "TIMESTAMPTZ",
    "day": "DATE",
    "json": "VARCHAR",
}


def _text(value: str) -> str:
    return "'" + value.replace("'", "''") + "'"
