"""How the named fields of an instance become a graph's tensors, and its outputs the fields of an answer.

A layout is data: it stands in a declaration, or in the metadata of a registered version under `tensors`, so that
a version is served anywhere without code of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

InputKind = Literal["number", "tensor", "text", "image", "audio"]
OutputKind = Literal["value", "label", "probability", "scores"]


@dataclass(frozen=True, slots=True)
class Picture:
    """The form in which a graph takes images: size in pixels, mode, order of the axes, and `(pixel * scale - mean) /
    std` for each channel. `exact` refuses another size instead of stretching it."""

    width: int
    height: int
    mode: Literal["L", "RGB"] = "RGB"
    order: Literal["HWC", "CHW", "flat"] = "CHW"
    scale: float = 1 / 255
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Sound:
    """The form in which a graph takes audio: so many samples at that rate; a longer sound is cut, a shorter one
    followed by silence. `scale` multiplies samples of -1 to 1."""

    rate: int
    samples: int
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class TensorInput:
    """One input of a graph and the fields that fill it, row by row.

    `number`: the fields' numbers and booleans side by side, `[rows, fields]`. `tensor`: one field of nested lists, of
    `shape` for each row. `text`: one field, BYTES `[rows, 1]`. `image` and `audio`: one field in that form.
    """

    name: str
    fields: tuple[str, ...]
    kind: InputKind = "number"
    datatype: str = "FP32"
    shape: tuple[int, ...] = ()
    picture: Picture | None = None
    sound: Sound | None = None


@dataclass(frozen=True, slots=True)
class TensorOutput:
    """One output of a graph and the field that takes it.

    `value`: the row's number, text or nested list as it is. Of a row of one number for each of `labels`: `label` is
    the name of the greatest, `probability` the greatest itself, `scores` all of them by name. `softmax` comes first
    where the graph gives logits.
    """

    name: str
    field: str
    kind: OutputKind = "value"
    labels: tuple[str, ...] = ()
    softmax: bool = False


@dataclass(frozen=True, slots=True)
class Layout:
    """All inputs of a graph, and those of its outputs that an answer holds; an output may fill several fields."""

    inputs: tuple[TensorInput, ...]
    outputs: tuple[TensorOutput, ...]
