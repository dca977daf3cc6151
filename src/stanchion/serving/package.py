"""How a registered version is laid out: which columns its graphs read, and what their answer becomes.

The metadata of an ONNX version that can be served:

    input, output   names of the graphs' one input [rows, columns], float32, and of the probabilities [rows, 2]
    columns         [{"name", "kind": "number" | "category", "categories"}]; a category is its place in the list
    probability     the output field that takes the probability of the positive class
    label, bands    the output field that takes the name of the highest band reached: [[name, lower bound], ...]
    rungs           {"primary": file, "simple": file}; the second may be absent
    reference       the distributions of training, which batch jobs compare their rows with; may be absent
    features        of a model that reads looked-up features: {"service", "fingerprint", "fields"}, as it was made

A version of any other graph has a layout instead (see contract/layouts.py), and nothing else:

    tensors         {"inputs": [...], "outputs": [...]}: how fields become the graph's inputs and its outputs fields
    rungs           as above; both graphs have the inputs and outputs that the layout speaks of
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from ..core.errors import InvalidInput, Unavailable
from ..core.values import Json
from ..registry import ModelVersion
from .contract.layouts import Layout

_SLACK = 1e-6


class Column(msgspec.Struct, frozen=True):
    """One number of a row."""

    name: str
    kind: Literal["number", "category"]
    categories: tuple[str, ...] = ()


class Package(msgspec.Struct, frozen=True):
    """The metadata of a version, read once."""

    input: str
    output: str
    columns: tuple[Column, ...]
    probability: str
    rungs: dict[str, str]
    label: str | None = None
    bands: tuple[tuple[str, float], ...] = ()


class TensorPackage(msgspec.Struct, frozen=True):
    """The metadata of a version whose graph has inputs and outputs of its own."""

    tensors: Layout
    rungs: dict[str, str]


def tensors_of(version: ModelVersion) -> TensorPackage | None:
    """The layout of a version whose graph is one of tensors, None for one of columns. Raises InvalidInput."""
    if "tensors" not in version.metadata or version.format != "onnx":
        return None
    try:
        package = msgspec.convert(version.metadata, TensorPackage)
    except msgspec.ValidationError as error:
        named = f"{version.model} {version.version}"
        raise InvalidInput(f"the metadata of {named} does not describe a layout: {error}") from error
    _check_rungs(version, package.rungs)
    return package


def _check_rungs(version: ModelVersion, rungs: Mapping[str, str]) -> None:
    if "primary" not in rungs or not set(rungs) <= {"primary", "simple"}:
        named = f"{version.model} {version.version}"
        raise InvalidInput(f"{named} names the rungs {sorted(rungs)}, not primary and perhaps simple")


def package_of(version: ModelVersion) -> Package:
    """The layout of a version. Raises InvalidInput if it is not one that can be served here."""
    named = f"{version.model} {version.version}"
    if version.format != "onnx":
        raise InvalidInput(f"{named} has the format {version.format}; only onnx is served here")
    try:
        package = msgspec.convert(version.metadata, Package)
    except msgspec.ValidationError as error:
        raise InvalidInput(f"the metadata of {named} does not describe a package: {error}") from error
    bounds = [bound for _, bound in package.bands]
    _check_rungs(version, package.rungs)
    if (package.label is None) != (not bounds) or bounds != sorted(bounds) or (bounds and bounds[0] > 0):
        raise InvalidInput(f"the bands of {named} do not cover 0 to 1 in ascending order")
    return package


def pinned_of(version: ModelVersion) -> str:
    """The fingerprint of the feature service that a version was made with; empty where it names none."""
    pinned = version.metadata.get("features")
    return str(pinned.get("fingerprint", "")) if isinstance(pinned, Mapping) else ""


class Outcomes:
    """Turns probabilities into the fields of the output type."""

    def __init__(self, package: Package) -> None:
        self._probability = package.probability
        self._label = package.label
        self._names = [name for name, _ in package.bands]
        self._bounds = [bound for _, bound in package.bands]

    def of(self, probabilities: Sequence[float]) -> list[Mapping[str, Json]]:
        """One outcome for each probability. Raises Unavailable if one is none, such as NaN."""
        return [self._one(probability) for probability in probabilities]

    def _one(self, probability: float) -> Mapping[str, Json]:
        # Written so that NaN fails it. Float32 sums of a sound graph may pass 1 by rounding.
        if not -_SLACK <= probability <= 1 + _SLACK:
            raise Unavailable("the graph gave something that is no probability")
        probability = min(max(probability, 0.0), 1.0)
        if self._label is None:
            return {self._probability: probability}
        name = self._names[bisect_right(self._bounds, probability) - 1]
        return {self._label: name, self._probability: probability}
