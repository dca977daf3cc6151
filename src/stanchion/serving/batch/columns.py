"""Whole columns against the rule of their field: which values are sound, and the numbers that a graph reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from .fields import FieldRule

if TYPE_CHECKING:
    import numpy
    import pyarrow

    Bools = numpy.ndarray[tuple[int], numpy.dtype[numpy.bool_]]
    Floats = numpy.ndarray[tuple[int], numpy.dtype[numpy.float64]]

_FLOAT32 = 3.4028234663852886e38
_EXACT = 2.0**53
# What text is a number: no words such as inf and nan, which Arrow would take, and no underscores, which Python would.
NUMBER = r"^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
TRUE, FALSE = ("true", "1"), ("false", "0")


class Checked(NamedTuple):
    """`sound` for each row; `values` are numbers, NaN where absent, and mean something only where sound."""

    sound: Bools
    values: Floats | None


def mistyped(rule: FieldRule, kind: pyarrow.DataType) -> bool:
    """Whether no value of a column of this type can be a value of the field."""
    import pyarrow.types as types

    if types.is_dictionary(kind):
        kind = kind.value_type
    text = types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind)
    if types.is_null(kind) or rule.kind == "other":
        return False
    if rule.kind == "string":
        return not text
    if rule.kind == "boolean":
        return not (text or types.is_boolean(kind))
    number = types.is_integer(kind) or types.is_floating(kind) or types.is_decimal(kind)
    return not (text or number)


def check(rule: FieldRule, column: pyarrow.ChunkedArray, codes: Mapping[str, float] | None) -> Checked:
    """The soundness of a column's values. `codes` are the places of the categories of a graph's column."""
    import numpy
    import pyarrow

    if rule.kind == "other":
        return Checked(numpy.zeros(len(column), dtype=bool), None)
    array = column.combine_chunks()
    if isinstance(array, pyarrow.ChunkedArray):
        array = pyarrow.concat_arrays(array.chunks) if array.num_chunks else pyarrow.array([], column.type)
    absent = _absent(array)
    if pyarrow.types.is_null(array.type):
        found = Checked(numpy.zeros(len(array), dtype=bool), numpy.full(len(array), numpy.nan))
    elif rule.kind == "string":
        found = _texts(rule, array, codes)
    elif rule.kind == "boolean":
        found = _booleans(array)
    else:
        found = _numbers(rule, array)
    return _with_absent(rule, found, absent, codes)


def _absent(array: pyarrow.Array) -> Bools:
    import numpy

    if array.null_count == 0:
        return numpy.zeros(len(array), dtype=bool)
    found: Bools = array.is_null().to_numpy(zero_copy_only=False)
    return found


def _with_absent(rule: FieldRule, found: Checked, absent: Bools, codes: Mapping[str, float] | None) -> Checked:
    import numpy

    if not absent.any():
        return found
    sound = numpy.where(absent, rule.may_be_absent, found.sound)
    values = found.values
    if values is not None:
        value = numpy.nan if rule.nullable or not rule.defaulted else as_number(rule.default, codes)
        values = numpy.where(absent, value, values)
    return Checked(sound, values)


def as_number(value: Any, codes: Mapping[str, float] | None) -> float:
    """A single value as a graph reads it."""
    if value is None:
        return float("nan")
    return codes[value] if codes is not None else float(value)


def _texts(rule: FieldRule, array: pyarrow.Array, codes: Mapping[str, float] | None) -> Checked:
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    if rule.allowed:
        values, places = array, None
        if pyarrow.types.is_dictionary(array.type):
            values, places = array.dictionary, array.indices
        known = compute.index_in(values, value_set=pyarrow.array(rule.allowed, values.type))
        if places is not None:
            known = known.take(places)
        place = known.fill_null(-1).to_numpy(zero_copy_only=False)
        sound = place >= 0
        if codes is None:
            return Checked(sound, None)
        table = numpy.array([*(codes[value] for value in rule.allowed), numpy.nan])
        return Checked(sound, table[place])
    if pyarrow.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    least, most = rule.bounds.get("minLength"), rule.bounds.get("maxLength")
    sound = numpy.ones(len(array), dtype=bool)
    if least is not None or most is not None:
        lengths = compute.utf8_length(array).fill_null(0).to_numpy(zero_copy_only=False)
        sound = (lengths >= (least or 0)) & (lengths <= (numpy.inf if most is None else most))
    return Checked(sound, None)


def _booleans(array: pyarrow.Array) -> Checked:
    import numpy
    import pyarrow
    import pyarrow.compute as compute

    if pyarrow.types.is_boolean(array.type):
        values = array.fill_null(False).to_numpy(zero_copy_only=False)
        return Checked(numpy.ones(len(array), dtype=bool), values.astype(numpy.float64))
    text = compute.utf8_lower(compute.utf8_trim_whitespace(_text(array)))
    words = pyarrow.array([*TRUE, *FALSE], text.type)
    place = compute.index_in(text, value_set=words).fill_null(-1).to_numpy(zero_copy_only=False)
    return Checked(place >= 0, (place < len(TRUE)).astype(numpy.float64))


def _numbers(rule: FieldRule, array: pyarrow.Array) -> Checked:
    import numpy
    import pyarrow.types as types

    if types.is_dictionary(array.type):
        array = array.dictionary_decode()
    if types.is_boolean(array.type):
        return Checked(numpy.zeros(len(array), dtype=bool), numpy.full(len(array), numpy.nan))
    values = _parsed(array) if _is_text(array.type) else _floats(array)
    with numpy.errstate(invalid="ignore"):
        # Written so that NaN fails it, as infinities do.
        sound = numpy.abs(values) <= (_FLOAT32 if rule.kind == "number" else _EXACT)
        if rule.kind == "integer":
            sound &= values == numpy.floor(values)
        if "minimum" in rule.bounds:
            sound &= values >= rule.bounds["minimum"]
        if "exclusiveMinimum" in rule.bounds:
            sound &= values > rule.bounds["exclusiveMinimum"]
        if "maximum" in rule.bounds:
            sound &= values <= rule.bounds["maximum"]
        if "exclusiveMaximum" in rule.bounds:
            sound &= values < rule.bounds["exclusiveMaximum"]
        if rule.allowed:
            sound &= numpy.isin(values, [float(value) for value in rule.allowed])
    return Checked(sound, values)


def _floats(array: pyarrow.Array) -> Floats:
    import numpy
    import pyarrow

    if array.null_count or not pyarrow.types.is_floating(array.type):
        # Unsafe: a large integer loses digits, and is then beyond the bound of what is exact.
        array = array.cast(pyarrow.float64(), safe=False).fill_null(float("nan"))
    values: Floats = array.to_numpy(zero_copy_only=False).astype(numpy.float64, copy=False)
    return values


def _parsed(array: pyarrow.Array) -> Floats:
    """Texts as numbers, NaN where they are none."""
    import pyarrow
    import pyarrow.compute as compute

    text = compute.utf8_trim_whitespace(_text(array))
    try:
        # The usual column holds numbers only: one pass. What Arrow admits beyond NUMBER is never finite.
        parsed = text.cast(pyarrow.float64())
    except pyarrow.ArrowInvalid:
        good = compute.match_substring_regex(text, NUMBER)
        parsed = compute.if_else(good, text, None).cast(pyarrow.float64())
    values: Floats = parsed.fill_null(float("nan")).to_numpy(zero_copy_only=False)
    return values


def _text(array: pyarrow.Array) -> pyarrow.Array:
    import pyarrow

    return array.dictionary_decode() if pyarrow.types.is_dictionary(array.type) else array


def _is_text(kind: pyarrow.DataType) -> bool:
    import pyarrow.types as types

    return bool(types.is_string(kind) or types.is_large_string(kind) or types.is_string_view(kind))
