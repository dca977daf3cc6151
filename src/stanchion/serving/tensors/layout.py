"""A layout at work: the fields of instances become a graph's arrays, its arrays the fields of answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, assert_never

import numpy

from ...core.errors import InvalidInput, Unavailable
from ...core.values import Json
from ..contract.layouts import Layout, Picture, Sound, TensorInput, TensorOutput
from ..contract.media import Audio, Image, Medium, medium_of
from ..contract.tensors import TensorSpec
from ..media.audio import fitted as sound_fitted
from ..media.encoded import refused
from ..media.images import fitted as picture_fitted
from ..media.images import nested, prepare
from .arrays import Array, dtype_of, matches

ROOT = "$.features"
Instance = Mapping[str, Json]
_MOST = 1 << 24


class Laid:
    """A layout bound to the schemas of a model and to the inputs and outputs of its graph.

    Raises InvalidInput where they do not fit together.
    """

    def __init__(
        self,
        layout: Layout,
        input_schema: Mapping[str, Any],
        output_schema: Mapping[str, Any],
        inputs: Sequence[TensorSpec],
        outputs: Sequence[TensorSpec],
    ) -> None:
        _check(layout, input_schema, output_schema, inputs, outputs)
        self._specs = {spec.name: spec for spec in inputs}
        self._inputs = layout.inputs
        self._outputs = layout.outputs
        properties = input_schema.get("properties", {})
        self._media = {name: medium_of(each) for name, each in properties.items()}
        self.wanted = tuple(dict.fromkeys(each.name for each in layout.outputs))
        if any(each.kind == "image" for each in layout.inputs):
            prepare()
        self.heavy = any(each.kind in ("image", "audio") for each in layout.inputs)
        # A graph made for one row at a time is run so.
        self.single = any(spec.shape[:1] == (1,) for spec in inputs)

    def arrays(self, instances: Sequence[Instance]) -> dict[str, Array]:
        """The inputs for these instances, one row each. Blocks while media are decoded. Raises InvalidInput."""
        made = {}
        for each in self._inputs:
            rows = [self._row(each, instance, row, len(instances)) for row, instance in enumerate(instances)]
            spec = self._specs[each.name]
            if any(row.shape != rows[0].shape for row in rows):
                raise refused(f"{ROOT}.{each.fields[0]}", "Expected the same shape in every instance of a call")
            stacked = numpy.stack(rows)
            if not matches(stacked.shape, (-1, *spec.shape[1:])):
                raise refused(ROOT, f"The input {each.name} has the shape {stacked.shape}, not {spec.shape}")
            made[each.name] = stacked
        return made

    def answers(self, outputs: Mapping[str, Array], rows: int) -> list[dict[str, Json]]:
        """The fields of each row's answer. Raises Unavailable where the graph gave something else."""
        made: list[dict[str, Json]] = [{} for _ in range(rows)]
        for each in self._outputs:
            array = outputs[each.name]
            if array.ndim < 1 or array.shape[0] != rows:
                raise Unavailable(f"the output {each.name} has the shape {array.shape} for {rows} rows")
            for answer, value in zip(made, _told(each, array), strict=True):
                answer[each.field] = value
        return made

    def example(self, rows: int = 1) -> dict[str, Array]:
        """Inputs of nothing but zeros and empty texts: what a graph is run warm with."""
        made = {}
        for each in self._inputs:
            kind = dtype_of(self._specs[each.name].datatype)
            shape = (rows, *row_shape(each))
            made[each.name] = numpy.full(shape, "", dtype=kind) if kind.kind == "O" else numpy.zeros(shape, kind)
        return made

    def _row(self, each: TensorInput, instance: Instance, row: int, rows: int) -> Array:
        try:
            return self._read(each, instance)
        except InvalidInput as error:
            if rows == 1 or not error.fields:
                raise
            raise refused(error.fields[0].path, f"{error.fields[0].message} (row {row} of those admitted)") from error

    def _read(self, each: TensorInput, instance: Instance) -> Array:
        kind, first = dtype_of(each.datatype), each.fields[0]
        value, path = instance.get(first), f"{ROOT}.{first}"
        match each.kind:
            case "number":
                return numpy.array([_number(instance.get(name), name) for name in each.fields], dtype=kind)
            case "tensor":
                array = nested(value, path, most=_MOST)
                if not matches(array.shape, each.shape):
                    raise refused(path, f"Expected numbers of the shape {list(each.shape)}")
                return array.astype(kind)
            case "text":
                made = numpy.empty(1, dtype=object)
                made[0] = str(value)
                return made
            case "image":
                return _picture(each.picture or _lacks(each), self._media.get(first), value, path).astype(kind)
            case "audio":
                return _sound(each.sound or _lacks(each), self._media.get(first), value, path).astype(kind)
            case _:
                assert_never(each.kind)


def media_check(schema: Mapping[str, Any]) -> Callable[[Instance], None] | None:
    """What refuses an instance whose media would not be opened, by their heads alone; None for a schema without."""
    media = {name: medium for name, each in schema.get("properties", {}).items() if (medium := medium_of(each))}
    if not media:
        return None

    def check(instance: Instance) -> None:
        for name, medium in media.items():
            if instance.get(name) is not None:
                medium.check(instance[name], f"{ROOT}.{name}")

    return check


def _picture(form: Picture, medium: Medium | None, value: Json, path: str) -> Array:
    image = medium if isinstance(medium, Image) else Image()
    pixels = picture_fitted(
        image.array(value, mode=form.mode, path=path),
        width=form.width,
        height=form.height,
        exact=form.exact,
        path=path,
    )
    scaled: Array = pixels.astype(numpy.float32) * numpy.float32(form.scale)
    if form.mean:
        scaled = scaled - numpy.asarray(form.mean, numpy.float32)
    if form.std:
        scaled = scaled / numpy.asarray(form.std, numpy.float32)
    if scaled.ndim == 2:
        scaled = scaled[:, :, numpy.newaxis]
    if form.order == "flat":
        return scaled.ravel()
    return scaled.transpose(2, 0, 1) if form.order == "CHW" else scaled


def _sound(form: Sound, medium: Medium | None, value: Json, path: str) -> Array:
    audio = medium if isinstance(medium, Audio) else Audio(rate=form.rate)
    samples = audio.array(value, path=path)
    return sound_fitted(samples, length=form.samples) * numpy.float32(form.scale)


def _number(value: Json, name: str) -> float:
    if value is None:
        return numpy.nan
    if isinstance(value, bool | int | float):
        return float(value)
    raise refused(f"{ROOT}.{name}", "Expected a number")


def _told(each: TensorOutput, array: Array) -> list[Json]:
    """One value for each row."""
    if each.kind == "value":
        flat = array.reshape(len(array)) if array.size == len(array) else array
        values: list[Json] = [_json(one) for one in flat.tolist()]
        return values
    scores = array.reshape(len(array), -1).astype(numpy.float64)
    if scores.shape[1] != len(each.labels):
        raise Unavailable(f"the output {each.name} has {scores.shape[1]} scores for {len(each.labels)} labels")
    if not numpy.isfinite(scores).all():
        raise Unavailable(f"the output {each.name} holds something that is no number")
    if each.softmax:
        raised = numpy.exp(scores - scores.max(axis=1, keepdims=True))
        scores = raised / raised.sum(axis=1, keepdims=True)
    best = scores.argmax(axis=1)
    match each.kind:
        case "label":
            return [each.labels[place] for place in best]
        case "probability":
            return [float(row[place]) for row, place in zip(scores, best, strict=True)]
        case "scores":
            return [dict(zip(each.labels, row, strict=True)) for row in scores.tolist()]
        case _:
            assert_never(each.kind)


def _json(value: Any) -> Json:
    if isinstance(value, bytes):
        return value.decode(errors="replace")
    if isinstance(value, float) and not numpy.isfinite(value):
        raise Unavailable("the graph gave something that is no number")
    if isinstance(value, list):
        return [_json(each) for each in value]
    found: Json = value
    return found


def row_shape(each: TensorInput) -> tuple[int, ...]:
    """The shape of one row of an input."""
    match each.kind:
        case "number":
            return (len(each.fields),)
        case "tensor":
            return tuple(1 if size == -1 else size for size in each.shape)
        case "text":
            return (1,)
        case "image":
            form = each.picture or _lacks(each)
            channels = 1 if form.mode == "L" else 3
            if form.order == "flat":
                return (form.height * form.width * channels,)
            return (channels, form.height, form.width) if form.order == "CHW" else (form.height, form.width, channels)
        case "audio":
            return ((each.sound or _lacks(each)).samples,)
        case _:
            assert_never(each.kind)


def _lacks(each: TensorInput) -> Any:
    raise InvalidInput(f"the input {each.name} of the layout is {each.kind}, but no form of it is given")


def _check(
    layout: Layout,
    input_schema: Mapping[str, Any],
    output_schema: Mapping[str, Any],
    inputs: Sequence[TensorSpec],
    outputs: Sequence[TensorSpec],
) -> None:
    specs = {spec.name: spec for spec in inputs}
    if sorted(specs) != sorted(each.name for each in layout.inputs):
        raise InvalidInput(f"the layout fills {[i.name for i in layout.inputs]}; the graph takes {sorted(specs)}")
    strange = {each.name for each in layout.outputs} - {spec.name for spec in outputs}
    if strange or not layout.outputs:
        raise InvalidInput(f"the layout reads the outputs {sorted(strange)}, which the graph does not give")
    fields, given = set(input_schema.get("properties", {})), set(output_schema.get("properties", {}))
    for each in layout.inputs:
        many = each.kind == "number"
        if not each.fields or not set(each.fields) <= fields or (not many and len(each.fields) > 1):
            raise InvalidInput(f"the layout fills {each.name} from {list(each.fields)}, not fields of the input schema")
        spec = specs[each.name]
        if each.datatype != spec.datatype:
            raise InvalidInput(f"the layout gives {each.name} as {each.datatype}; the graph takes {spec.datatype}")
        if not matches((spec.shape[0] if spec.shape else 1, *row_shape(each)), spec.shape) or not spec.shape:
            raise InvalidInput(f"the layout gives {each.name} rows of {row_shape(each)}; the graph takes {spec.shape}")
    for out in layout.outputs:
        if out.field not in given:
            raise InvalidInput(f"the layout fills {out.field}, which is no field of the output schema")
        if out.kind != "value" and not out.labels:
            raise InvalidInput(f"the layout reads {out.name} as {out.kind}, but names no labels")
