"""The offline engine on DuckDB: in this process, bounded in memory and threads, reading declared places only.

No extension is ever fetched, no file but those of the declared tables is opened, and settings are locked before the
first query: an expression of a declaration can read the row it is given and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from ...core.errors import InvalidInput, Misconfigured, Unavailable
from ..ports import Joined, Logged, Offline, Relation, Session, Span
from ..windows.plan import Kind, quoted
from ..windows.sql import joined, newest, select, several, windows
from ..windows.values import inner
from . import places
from .relation import is_whole, log_rows, table_rows

if TYPE_CHECKING:
    import duckdb
    import pyarrow

_PAGE = 50_000
_KNOWN = 1_000


class Duck(Offline):
    """Makes sessions. `folder` is for what does not fit in memory, `home` where relative paths begin."""

    def __init__(self, *, folder: Path, home: Path, memory_mb: int, threads: int) -> None:
        self._folder = folder
        self._home = home
        self._memory_mb = memory_mb
        self._threads = threads
        # Stretches of tables, by the version of their files, in which no entity has two rows of one moment.
        self._single: dict[object, Span] = {}

    @contextmanager
    def open(self, relations: Sequence[Relation], span: Span | None) -> Iterator[Session]:
        folders, files = [str(self._folder)], list[str]()
        for relation in relations:
            if relation.table is not None:
                more, single = places.readable(relation.table, self._home)
                folders += more
                files += single
        with _trouble():
            link = self._connect(folders, files)
        try:
            yield DuckSession(link, relations, self._home, span, self._single)
        finally:
            link.close()

    def _connect(self, folders: Sequence[str], files: Sequence[str]) -> duckdb.DuckDBPyConnection:
        try:
            import duckdb
        except ModuleNotFoundError as error:
            raise Misconfigured(
                "the offline side of the feature store needs the extra `features`",
                next_step="Run `pip install 'stanchion[features]'`.",
            ) from error
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        link = duckdb.connect(
            config={
                "threads": self._threads,
                "memory_limit": f"{self._memory_mb}MB",
                "temp_directory": str(self._folder),
                "autoinstall_known_extensions": False,
                "autoload_known_extensions": False,
                "python_enable_replacements": False,
            }
        )
        link.execute("SET TimeZone = 'UTC'")
        link.execute("SET preserve_insertion_order = false")
        link.execute(f"SET allowed_directories = {_list(folders)}")
        link.execute(f"SET allowed_paths = {_list(files)}")
        link.execute("SET enable_external_access = false")
        link.execute("SET lock_configuration = true")
        return link


class DuckSession(Session):
    """One connection. A table that several relations read is opened once."""

    def __init__(
        self,
        link: duckdb.DuckDBPyConnection,
        relations: Sequence[Relation],
        home: Path,
        span: Span | None,
        single: dict[object, Span],
    ) -> None:
        self._link = link
        self._relations = tuple(relations)
        self._home = home
        self._span = span
        self._single = single
        self._raw: dict[str, tuple[str, Mapping[str, str]]] = {}
        self._logs: dict[int, str] = {}
        self._keys: list[str] = []
        self._is_staged = False

    def take(self, number: int, rows: Sequence[Logged]) -> None:
        relation = self._relations[number]
        with _trouble():
            first = number not in self._logs
            name = self._logs.setdefault(number, f"log_{number}")
            self._add(name, _log_page(relation, rows), first=first)

    def history(
        self, spine: pyarrow.Table, keys: Sequence[str], time: str, *, late: bool, status: bool = False
    ) -> Sequence[Joined]:
        with _trouble():
            self._spine(spine, keys, time)
            joins, fields = list[str](), list[str]()
            for number, relation in enumerate(self._relations):
                more, made = self._joined(number, relation, late=late, status=status)
                joins.append(more)
                fields += made
            query = select(", ".join(fields), "spine s", *joins, "ORDER BY s.r")
            found = self._link.sql(query).to_arrow_table()
        return self._split(found, status=status)

    def occurrences(self, span: Span, *, known: int | None = None) -> Iterator[Mapping[str, Sequence[Any]]]:
        with _trouble():
            kept = f"WHERE a >= {span.start} AND a < {span.end}"
            kept += "" if known is None else f" AND w >= {known}"
            query = select("*", self._staged(), kept, "ORDER BY k, a, w")
            for page in self._link.sql(query).to_arrow_reader(_PAGE):
                yield page.to_pydict()

    def bounds(self) -> tuple[int, int] | None:
        with _trouble():
            query = select("min(a), max(a)", self._staged())
            [(first, last)] = self._link.execute(query).fetchall()
        return None if first is None else (first, last)

    def stop(self) -> None:
        self._link.interrupt()

    def _add(self, name: str, page: pyarrow.Table, *, first: bool) -> None:
        """Add a page to a table of the session, which the first one makes."""
        self._link.register("page", page)
        self._link.execute(f"CREATE TEMP TABLE {name} AS FROM page" if first else f"INSERT INTO {name} FROM page")
        self._link.unregister("page")

    def _spine(self, spine: pyarrow.Table, keys: Sequence[str], time: str) -> None:
        import pyarrow

        numbered = spine.append_column("_r", pyarrow.array(range(spine.num_rows), pyarrow.int64()))
        self._link.register("given", numbered)
        made = [f"{quoted(key)} AS k_{i}" for i, key in enumerate(keys)]
        columns = ", ".join(["_r AS r", f"epoch_us({quoted(time)}::TIMESTAMPTZ) AS t", *made])
        self._link.execute(f"CREATE TEMP TABLE spine AS {select(columns, 'given')}")
        types = self._describe("given")
        self._keys = [types[key] for key in keys]

    def _joined(self, number: int, relation: Relation, *, late: bool, status: bool) -> tuple[str, list[str]]:
        plan = relation.plan
        key = self._key(number, relation)
        name = f"rows_{number}"
        self._link.execute(f"CREATE TEMP VIEW {name} AS {self._rows(number, key)}")
        dated = number in self._logs or (plan.source is not None and plan.source.known is not None)
        versions = late and dated
        repeated = None if versions else self._repeated(number, name, key)
        heads = newest(plan, name, late=versions, repeated=repeated)
        spine_key = f"k_{number}" if key == "BIGINT" else f"k_{number}::VARCHAR"
        summed = None
        if plan.groups:
            mine = f"({select(f'r, {spine_key} AS k, t', 'spine')})"
            summed = windows(plan, name, mine, late=versions, repeated=repeated)
        joins, fields = joined(plan, heads, summed, f"_{number}", f"s.{spine_key}", status=status)
        return joins, fields

    def _key(self, number: int, relation: Relation) -> str:
        """The type keys are compared by: whole numbers where all sides hold them, else text."""
        if number in self._logs or relation.table is None or relation.source is None:
            return "VARCHAR"
        _, types = self._raw_of(relation)
        return "BIGINT" if is_whole(types.get(relation.plan.entity, "")) and is_whole(self._keys[number]) else "VARCHAR"

    def _repeated(self, number: int, rows: str, key: str) -> str | None:
        """The keys and event times of which there are several rows, as a table; None if there are none."""
        version, span = self._version(number, key), self._span
        known = None if version is None else self._single.get(version)
        if known is not None and span is not None and known.start <= span.start and span.end <= known.end:
            return None
        name = f"repeated_{number}"
        self._link.execute(f"CREATE TEMP TABLE {name} AS {several(rows)}")
        if self._link.execute(select("1", name, "LIMIT 1")).fetchall():
            return name
        if version is not None and span is not None:
            if len(self._single) >= _KNOWN:
                self._single.clear()
            self._single[version] = span
        return None

    def _version(self, number: int, key: str) -> object | None:
        """What tells whether the keys and event times of a relation are still the same; None if nothing does."""
        relation = self._relations[number]
        if relation.table is None or relation.source is None or number in self._logs:
            return None
        files = places.version(relation.table, self._home)
        return None if files is None else (files, relation.plan.entity, relation.source.time, key)

    def _rows(self, number: int, key: str) -> str:
        """The relation as SQL: from the table, from the log, or from both."""
        relation = self._relations[number]
        parts = []
        if relation.table is not None and relation.source is not None:
            raw, types = self._raw_of(relation)
            parts.append(table_rows(relation.plan, relation.source, types, raw, key, self._span))
        if number not in self._logs and not parts:
            self.take(number, [])
        if number in self._logs:
            parts.append(log_rows(relation.plan, self._describe(self._logs[number]), self._logs[number], key))
        return " UNION ALL ".join(parts)

    def _staged(self) -> str:
        """The first relation as a table: it is read once, however many stretches are asked for."""
        if not self._is_staged:
            self._link.execute(f"CREATE TEMP TABLE staged AS {self._rows(0, 'VARCHAR')}")
            self._is_staged = True
        return "staged"

    def _raw_of(self, relation: Relation) -> tuple[str, Mapping[str, str]]:
        source, table = relation.source, relation.table
        if source is None or table is None:
            raise Misconfigured(f"the view {relation.plan.name} has no table")
        if source.name not in self._raw:
            name = f"raw_{len(self._raw)}"
            if table.format == "delta":
                self._link.register(name, places.delta(table, self._home))
            elif table.format == "sql":
                for page in places.database(source, table, relation.address or ""):
                    self._add(name, page, first=not page.num_rows)
            else:
                self._link.execute(f"CREATE TEMP VIEW {name} AS FROM {places.scan(source, table, self._home)}")
            self._raw[source.name] = name, self._describe(name)
        return self._raw[source.name]

    def _describe(self, name: str) -> dict[str, str]:
        return {row[0]: row[1] for row in self._link.execute(f"DESCRIBE {name}").fetchall()}

    def _split(self, found: pyarrow.Table, *, status: bool) -> Sequence[Joined]:
        """The answer by relation. Fields of different views may have one name until then."""
        parts, first = [], 0
        for relation in self._relations:
            names = list(relation.plan.fields)
            fields = found.select(list(range(first, first + len(names)))).rename_columns(names)
            first += len(names)
            parts.append(Joined(fields, found.column(first), found.column(first + 1) if status else None))
            first += 2 if status else 1
        return parts


def _log_page(relation: Relation, rows: Sequence[Logged]) -> pyarrow.Table:
    import pyarrow

    plan = relation.plan
    made: dict[str, list[Any]] = {
        "_k": [row.key if relation.source is None else str(row.values[plan.entity]) for row in rows],
        "_a": [row.at for row in rows],
        "_w": [row.known for row in rows],
        "_e": [row.event for row in rows],
    }
    for name, kind in relation.columns.items():
        made[name] = [_logged(kind, row.values.get(name)) for row in rows]
    schema = pyarrow.schema(
        [
            ("_k", pyarrow.string()),
            ("_a", pyarrow.int64()),
            ("_w", pyarrow.int64()),
            ("_e", pyarrow.string()),
            *places.arrow_schema(relation.columns),
        ]
    )
    return pyarrow.table(made, schema=schema)


def _logged(kind: Kind, value: Any) -> Any:
    if value is None:
        return None
    if kind == "json":
        return msgspec.json.encode(value).decode()
    if kind == "day":
        return date.fromisoformat(value)
    return inner(kind, value)


@contextmanager
def _trouble() -> Iterator[None]:
    import duckdb

    try:
        yield
    except (duckdb.ConversionException, duckdb.OutOfRangeException, duckdb.InvalidInputException) as error:
        raise InvalidInput(f"the rows are not as declared: {_said(error)}") from error
    except (duckdb.BinderException, duckdb.ParserException, duckdb.CatalogException) as error:
        raise InvalidInput(
            f"an expression or a column does not fit: {_said(error)}", next_step="Correct the declaration."
        ) from error
    except duckdb.OutOfMemoryException as error:
        raise Unavailable(
            f"the offline engine ran out of memory: {_said(error)}", next_step="Raise features.offline_memory_mb."
        ) from error
    except (duckdb.Error, OSError) as error:
        raise Unavailable(f"the rows cannot be read: {_said(error)}") from error


def _said(error: BaseException) -> str:
    return str(error).partition("\n")[0]


def _list(values: Sequence[str]) -> str:
    return "[" + ", ".join("'" + value.replace("'", "''") + "'" for value in values) + "]"
