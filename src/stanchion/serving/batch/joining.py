"""Features of the rows of a piece: as they were known at each row's moment, or as they are now."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.context import system_context
from ...core.errors import InvalidInput, Misconfigured
from ...features import Features
from .lookups import Wanted

if TYPE_CHECKING:
    import pyarrow

    Asking = Callable[[Sequence["Row"]], Awaitable[Sequence["Known"]]]

_PAGE = 1_000
_ROUNDS = 20
_PLACE = re.compile(r"\$\.(?:entities|request|spine)\[(\d+)\]\.?(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Row:
    """What a row is looked up by: plain `values` of the model's own fields, and its moment in microseconds."""

    values: Mapping[str, Any]
    at: int = 0


@dataclass(frozen=True, slots=True)
class Known:
    """A row's features and what each view says: present, stale or unknown."""

    values: Mapping[str, Any]
    status: Mapping[str, str]


class Joiner:
    """Looks features up as the system: who may order predictions need not be one who may read features."""

    def __init__(self, wanted: Wanted, features: Features, tenant: str) -> None:
        self._wanted = wanted
        self._lookup = wanted.lookup
        self._features = features
        self._ctx = system_context(tenant, task="batch")
        self._kinds = {name: wanted.service.fields[name] for name in wanted.names}
        lookup = self._lookup
        if both := [name for name in lookup.request if lookup.entities.get(name, name) != name]:
            raise Misconfigured(f"{both[0]} is both a field of the request and an entity of another field")

    @property
    def fields(self) -> Sequence[str]:
        """The model's own fields that a row is looked up by."""
        return list(dict.fromkeys((*self._lookup.entities.values(), *self._lookup.request)))

    async def known(self, rows: Sequence[Row]) -> list[Known | str]:
        """What is known of each row, or what is wrong with it; in order. Raises what the feature store raises."""
        found: list[Known | str] = [""] * len(rows)
        asked = []
        for place, row in enumerate(rows):
            lacking = [field for field in self._lookup.entities.values() if row.values.get(field) in (None, "")]
            if lacking:
                found[place] = f"{lacking[0]}: Required, and missing"
            else:
                asked.append(place)
        if self._wanted.time:
            await self._without_faulty(rows, asked, found, self._historical)
        else:
            for first in range(0, len(asked), _PAGE):
                await self._without_faulty(rows, asked[first : first + _PAGE], found, self._present)
        return found

    async def _without_faulty(
        self, rows: Sequence[Row], asked: Sequence[int], found: list[Known | str], ask: Asking
    ) -> None:
        """Ask about the rows at these places; those that the feature store names as faulty are left out and told."""
        for left in reversed(range(_ROUNDS)):
            if not asked:
                return
            try:
                for place, known in zip(asked, await ask([rows[place] for place in asked]), strict=True):
                    found[place] = known
                return
            except InvalidInput as error:
                blamed = self._blamed(error, asked)
                if not blamed or not left:
                    raise
                for place, told in blamed.items():
                    found[place] = told
                asked = [place for place in asked if place not in blamed]

    def _blamed(self, error: InvalidInput, asked: Sequence[int]) -> dict[int, str]:
        problems: dict[int, str] = {}
        for each in error.fields:
            match = _PLACE.fullmatch(each.path)
            if match is not None and int(match[1]) < len(asked):
                field = self._wanted.time if match[2] == self._moment else self._lookup.entities.get(match[2], match[2])
                problems.setdefault(asked[int(match[1])], f"{field}: {each.message}")
        return problems

    # What is true now

    async def _present(self, rows: Sequence[Row]) -> list[Known]:
        lookup = self._lookup
        keys = [{entity: str(row.values[field]) for entity, field in lookup.entities.items()} for row in rows]
        request = [{name: row.values[name] for name in lookup.request if name in row.values} for row in rows]
        vectors = await self._features.vectors(
            self._ctx, lookup.service, keys, request=request if lookup.request else ()
        )
        return [Known(vector.values, vector.status) for vector in vectors]

    # What was known at a row's moment

    @property
    def _moment(self) -> str:
        """A name for the spine's moments that none of its other columns and no feature has."""
        name, lookup = "moment", self._lookup
        while name in (*lookup.entities, *lookup.request, *self._wanted.service.fields):
            name += "_"
        return name

    async def _historical(self, rows: Sequence[Row]) -> list[Known]:
        spine = await asyncio.to_thread(self._spine, rows)
        found = self._features.historical(self._ctx, self._lookup.service, spine, time=self._moment, status=True)
        pieces = [piece async for piece in found]
        return await asyncio.to_thread(self._read, pieces)

    def _spine(self, rows: Sequence[Row]) -> bytes:
        import pyarrow

        lookup = self._lookup
        columns: dict[str, Any] = {
            name: pyarrow.array([row.values.get(name) for row in rows]) for name in lookup.request
        }
        for entity, field in lookup.entities.items():
            if entity not in columns:
                columns[entity] = pyarrow.array([str(row.values[field]) for row in rows], pyarrow.string())
        columns[self._moment] = pyarrow.array([row.at for row in rows], pyarrow.timestamp("us", tz="UTC"))
        table = pyarrow.table(columns)
        sink = pyarrow.BufferOutputStream()
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
        content: bytes = sink.getvalue().to_pybytes()
        return content

    def _read(self, pieces: Sequence[bytes]) -> list[Known]:
        import pyarrow

        table: pyarrow.Table = pyarrow.ipc.open_stream(b"".join(pieces)).read_all()
        columns = {name: self._plain(name, table.column(name).to_pylist()) for name in self._wanted.names}
        views = {view: table.column(f"status:{view}").to_pylist() for view in self._wanted.views}
        return [
            Known(
                {name: values[place] for name, values in columns.items()},
                {view: said[place] for view, said in views.items()},
            )
            for place in range(table.num_rows)
        ]

    def _plain(self, name: str, values: list[Any]) -> list[Any]:
        """Values of a field that is no plain value come as JSON text; the reader takes them as data."""
        if {"string", "number", "integer", "boolean"} & set(self._kinds[name].split("|")):
            return values
        with suppress(ValueError, TypeError):
            return [None if value is None else json.loads(value) for value in values]
        return values
