"""Pieces of a table against a model's input schema: by column first, row by row only where that finds a fault."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ...core.errors import FieldProblem, InvalidInput
from ..contract import Extra
from ..intake import Intake
from ..package import Column
from .cells import instance_of, reasons
from .columns import as_number, check, mistyped
from .fields import rules_of
from .pieces import Described, Piece

if TYPE_CHECKING:
    import numpy
    import pyarrow

ROW, PROBLEMS, RAW = "row_number", "problems", "raw"
_RESERVED = frozenset({ROW, PROBLEMS, RAW})


@dataclass(frozen=True, slots=True)
class Plan:
    """Which columns of an input are read: `fields` are checked, `kept` are copied to the output, `time` is a moment."""

    fields: Sequence[str]
    kept: Sequence[str]
    ignored: Sequence[str]
    time: str = ""

    @property
    def columns(self) -> Sequence[str]:
        """Every column that is read, once, in the order of the input."""
        return list(dict.fromkeys((*self.fields, *self.kept, *([self.time] if self.time else []))))


@dataclass(frozen=True, slots=True)
class Admitted:
    """A checked piece. `matrix` holds the sound rows as a graph reads them; `sound` are their places in the table.

    `instances` stand in for the matrix where the model is a function. `bad` are the places of the others, with
    their `reasons`; `first` is the field at fault in each.
    """

    piece: Piece
    sound: numpy.ndarray[Any, Any]
    matrix: numpy.ndarray[Any, Any]
    instances: Sequence[Any]
    bad: Sequence[int]
    reasons: Sequence[str]


class Checker:
    """Checks pieces for one version. Without `columns` the model is a function, which takes instances."""

    def __init__(self, schema: Mapping[str, Any], columns: Sequence[Column], *, instances: bool = False) -> None:
        self.rules = rules_of(schema)
        self._by_name = {rule.name: rule for rule in self.rules}
        self._intake = Intake(schema, columns)
        self.columns = columns
        self._codes = {
            column.name: {value: float(code) for code, value in enumerate(column.categories)}
            for column in columns
            if column.kind == "category"
        }
        self._instances = instances

    @property
    def names(self) -> Sequence[str]:
        """The fields that are checked."""
        return list(self._by_name)

    def plan(
        self, described: Described, *, keep: Sequence[str], extra: Extra, taken: Sequence[str], time: str = ""
    ) -> Plan:
        """What is read of an input; `taken` are names of the output, `time` is a column of moments.

        Raises InvalidInput with every faulty column.
        """
        names, problems = set(described.names), []
        for rule in self.rules:
            if rule.required and not rule.nullable and rule.name not in names:
                problems.append(FieldProblem(f"$.{rule.name}", f"The column is missing{_near(rule.name, names)}"))
            elif rule.required and rule.name not in names:
                problems.append(FieldProblem(f"$.{rule.name}", "The column is missing, though its values may be"))
        problems += [FieldProblem(f"$.{name}", "No such column to keep") for name in keep if name not in names]
        unknown = [name for name in described.names if name not in self._by_name]
        if extra == "refuse":
            known = set(self._by_name)
            problems += [
                FieldProblem(f"$.{name}", f"The model has no such field{_near(name, known)}")
                for name in unknown
                if name not in keep and name != time
            ]
        identifiers = [rule.name for rule in self.rules if rule.identifier and rule.name in names]
        kept = list(dict.fromkeys((*identifiers, *keep, *(unknown if extra == "keep" else ()))))
        clash = sorted((set(kept) & set(taken)) | (set(kept) & _RESERVED))
        problems += [FieldProblem(f"$.{name}", "The output has another column of this name") for name in clash]
        if problems:
            raise InvalidInput(
                f"the columns do not fit the model: {problems[0].path[2:]}: {problems[0].message}",
                fields=problems[:50],
                next_step="Rename the columns; let others be ignored or kept with `extra` or --extra.",
            )
        fields = [name for name in described.names if name in self._by_name]
        ignored = [name for name in unknown if name not in kept]
        return Plan(fields, kept, ignored, time)

    def check_types(self, table: pyarrow.Table) -> None:
        """Raise InvalidInput if a column's type can hold no value of its field: every row would be quarantined."""
        problems = [
            FieldProblem(f"$.{rule.name}", f"The column holds {table.schema.field(rule.name).type}, not {rule.kind}")
            for rule in self.rules
            if rule.name in table.column_names and mistyped(rule, table.schema.field(rule.name).type)
        ]
        if problems:
            raise InvalidInput(
                f"the columns do not fit the model: {problems[0].path[2:]}: {problems[0].message}",
                fields=problems,
                next_step="Cast the columns to the types of the model's input schema.",
            )

    def admit(self, piece: Piece, fields: Sequence[str]) -> Admitted:
        """The piece's sound rows as numbers, and what is wrong with the others."""
        import numpy

        table = piece.table
        self.check_types(table)
        sound = numpy.ones(table.num_rows, dtype=bool)
        values: dict[str, Any] = {}
        for name in fields:
            found = check(self._by_name[name], table.column(name), self._codes.get(name))
            sound &= found.sound
            values[name] = found.values
        matrix = numpy.empty((table.num_rows, len(self.columns)), dtype=numpy.float32)
        for place, column in enumerate(self.columns):
            given = values.get(column.name)
            with numpy.errstate(over="ignore", invalid="ignore"):
                matrix[:, place] = self._default(column.name) if given is None else given
        bad, told = self._one_by_one(table.select(list(fields)), numpy.flatnonzero(~sound), sound, matrix)
        places = numpy.flatnonzero(sound)
        instances = self._as_instances(table.select(list(fields)), places) if self._instances else ()
        return Admitted(piece, places, matrix if len(places) == len(sound) else matrix[places], instances, bad, told)

    def _default(self, name: str) -> float:
        rule = self._by_name[name]
        return as_number(rule.default, self._codes.get(name)) if rule.defaulted else float("nan")

    def _one_by_one(
        self, table: pyarrow.Table, suspects: numpy.ndarray[Any, Any], sound: Any, matrix: Any
    ) -> tuple[list[int], list[str]]:
        """Ask the check of single instances about each suspect: it has the last word, and the exact reasons."""
        bad, told = [], []
        for place, row in zip(suspects.tolist(), table.take(suspects).to_pylist(), strict=True):
            try:
                checked = self._intake.checked(instance_of(row, self._by_name))
                if self.columns:
                    matrix[place] = self._intake.row(checked)
                sound[place] = True
            except InvalidInput as error:
                bad.append(place)
                told.append(reasons(error.fields))
        return bad, told

    def values(self, table: pyarrow.Table, names: Sequence[str], places: Sequence[int]) -> list[dict[str, Any]]:
        """These fields of the rows at those places, which must be sound, as plain values with their defaults."""
        import pyarrow

        defaults = {name: rule.default for name, rule in self._by_name.items() if name in names and rule.defaulted}
        there = [name for name in names if name in table.column_names and name in self._by_name]
        chosen = pyarrow.array(list(places), pyarrow.int64())
        rows = table.select(there).take(chosen).to_pylist() if there else [{} for _ in places]
        return [{**defaults, **instance_of(row, self._by_name)} for row in rows]

    def _as_instances(self, table: pyarrow.Table, places: Any) -> list[Any]:
        rows = table.take(places).to_pylist()
        return [self._intake.plain(self._intake.checked(instance_of(row, self._by_name))) for row in rows]


def _near(name: str, names: set[str]) -> str:
    close = difflib.get_close_matches(name, names, n=1)
    return f"; did you mean {close[0]!r}?" if close else ""
