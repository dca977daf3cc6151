"""The pinned version as a batch runs it: its own graph, apart from the one that answers requests.

A batch waits for its model rather than take a rule's word for it: only the primary graph answers, and a failure of it
fails the job, which can be resumed.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from ...core.context import Context
from ...core.errors import InvalidInput, NotTrustworthy, StanchionError, Unavailable
from ...registry import ModelVersion, Registry
from ..contract import ServedSpec
from ..loaded import DECLARED
from ..package import Package, package_of
from ..pool import Pool
from ..ports import Graph, Runtime
from ..rungs import function_call
from .checking import Admitted, Checker

if TYPE_CHECKING:
    import numpy
    import pyarrow

# So many rows a run, whatever the chunk and the threads: the sums of some graphs depend on it in the last digit.
SLICE = 8_192
_SLACK = 1e-6


class Scorer(Protocol):
    """What predicts for checked rows."""

    version: str
    manifest: str
    reference: Mapping[str, Any] | None
    checker: Checker
    names: Sequence[str]

    async def score(self, ctx: Context, admitted: Admitted) -> Scored:
        """Predictions in the order of the sound rows. Raises Unavailable, and what the model raises."""
        ...

    def told(self, outcomes: Sequence[Mapping[str, Any]]) -> Scored:
        """Outcomes of other rungs as columns of the output."""
        ...

    def checker_without(self, names: Sequence[str]) -> Checker:
        """A checker that asks for none of these looked-up features."""
        ...

    def close(self) -> None:
        """Let go of the threads."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """`columns` are the fields of the output; `probability` and `labels` what is counted of them, if there are any."""

    columns: Mapping[str, pyarrow.Array]
    probability: numpy.ndarray[Any, Any] | None
    labels: pyarrow.Array | None

    def joined(self, other: Scored) -> Scored:
        """These predictions and others behind them."""
        import numpy
        import pyarrow

        columns = {
            name: pyarrow.concat_arrays([_decoded(each), _decoded(other.columns[name])])
            for name, each in self.columns.items()
        }
        labels = None
        if self.labels is not None and other.labels is not None:
            labels = pyarrow.concat_arrays([_decoded(self.labels), _decoded(other.labels)]).dictionary_encode()
        probability = None
        if self.probability is not None and other.probability is not None:
            probability = numpy.concatenate([self.probability, other.probability])
        return Scored(columns, probability, labels)

    def taken(self, order: pyarrow.Array) -> Scored:
        """The predictions at these places; what is counted of them has no order."""
        return Scored({name: each.take(order) for name, each in self.columns.items()}, self.probability, self.labels)


def _decoded(array: pyarrow.Array) -> pyarrow.Array:
    import pyarrow

    return array.dictionary_decode() if pyarrow.types.is_dictionary(array.type) else array


class GraphScorer(Scorer):
    """A registered version's primary graph, run in slices on threads of its own."""

    def __init__(self, version: ModelVersion, package: Package, graph: Graph, threads: int) -> None:
        self.version = version.version
        self.manifest = version.manifest_sha256
        found = version.metadata.get("reference")
        self.reference = found if isinstance(found, Mapping) else None
        self._schema = _with_features(version.input_schema, package)
        self.checker = Checker(self._schema, package.columns)
        self._package = package
        self._graph = graph
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="batch")
        self.names = [name for name in (package.label, package.probability) if name is not None]

    async def score(self, ctx: Context, admitted: Admitted) -> Scored:
        import numpy

        loop, matrix = asyncio.get_running_loop(), admitted.matrix
        runs = [
            loop.run_in_executor(self._threads, self._run, matrix[start : start + SLICE])
            for start in range(0, len(matrix), SLICE)
        ]
        try:
            parts = await asyncio.gather(*runs)
        except StanchionError:
            raise
        # Engines raise what they like; none of it says more to whoever runs the job than where it happened.
        except Exception as error:
            raise Unavailable(f"the graph of version {self.version} failed: {type(error).__name__}") from error
        probability = numpy.concatenate(parts) if parts else numpy.empty(0)
        return self._scored(probability)

    def _run(self, rows: Any) -> Any:
        import numpy

        return numpy.asarray(self._graph.probabilities(rows), dtype=numpy.float64)

    def _scored(self, probability: numpy.ndarray[Any, Any]) -> Scored:
        import numpy
        import pyarrow

        # The bounds and roundings of `Outcomes`, for a whole column.
        if not ((probability >= -_SLACK) & (probability <= 1 + _SLACK)).all():
            raise Unavailable("the graph gave something that is no probability")
        probability = numpy.clip(probability, 0.0, 1.0)
        columns: dict[str, pyarrow.Array] = {}
        labels = None
        if self._package.label is not None:
            bounds = numpy.array([bound for _, bound in self._package.bands])
            place = numpy.searchsorted(bounds, probability, side="right") - 1
            names = pyarrow.array([name for name, _ in self._package.bands], pyarrow.string())
            labels = pyarrow.DictionaryArray.from_arrays(pyarrow.array(place.astype(numpy.int32)), names)
            columns[self._package.label] = labels
        columns[self._package.probability] = pyarrow.array(probability)
        return Scored(columns, probability, labels)

    def told(self, outcomes: Sequence[Mapping[str, Any]]) -> Scored:
        import numpy
        import pyarrow

        probability = numpy.array([float(each[self._package.probability]) for each in outcomes], dtype=numpy.float64)
        columns: dict[str, pyarrow.Array] = {}
        labels = None
        if self._package.label is not None:
            labels = pyarrow.array([each[self._package.label] for each in outcomes], pyarrow.string())
            columns[self._package.label] = labels
        columns[self._package.probability] = pyarrow.array(probability)
        return Scored(columns, probability, labels)

    def checker_without(self, names: Sequence[str]) -> Checker:
        columns = [column for column in self._package.columns if column.name not in names]
        return Checker(_without(self._schema, names), columns)

    def close(self) -> None:
        self._threads.shutdown(wait=False, cancel_futures=True)


class FunctionScorer(Scorer):
    """A declared Python function, called with so many typed instances at once."""

    version, manifest, reference = DECLARED, "", None

    def __init__(self, spec: ServedSpec, pool: Pool) -> None:
        self._spec = spec
        self.checker = Checker(spec.input.model_json_schema(), (), instances=True)
        self._properties = spec.output.model_json_schema(mode="serialization")["properties"]
        self.names = list(self._properties)
        self._call = function_call(spec, pool=pool)

    async def score(self, ctx: Context, admitted: Admitted) -> Scored:
        answers: list[Mapping[str, Any]] = []
        for start in range(0, len(admitted.instances), SLICE):
            items = [self._spec.input.model_validate(each) for each in admitted.instances[start : start + SLICE]]
            answers += await self._call(ctx, items)
        return self.told(answers)

    def told(self, outcomes: Sequence[Mapping[str, Any]]) -> Scored:
        import numpy
        import pyarrow

        columns = {
            name: pyarrow.array(_cells([each.get(name) for each in outcomes], kind), kind)
            for name, kind in _kinds(self._properties).items()
        }
        probability = columns.get("probability")
        if probability is None or probability.type != pyarrow.float64() or probability.null_count:
            return Scored(columns, None, None)
        values = probability.to_numpy(zero_copy_only=False)
        return Scored(columns, values if bool(numpy.all((values >= 0) & (values <= 1))) else None, None)

    def checker_without(self, names: Sequence[str]) -> Checker:
        return Checker(_without(self._spec.input.model_json_schema(), names), (), instances=True)

    def close(self) -> None:
        """Nothing is held."""


def _with_features(schema: Mapping[str, Any], package: Package) -> Mapping[str, Any]:
    """The input schema with the looked-up features as fields of their own: a table for a batch brings them along.

    They were joined before; a job that looks them up itself has a checker without them.
    """
    own = schema.get("properties", {})
    joined: dict[str, Any] = {}
    for column in package.columns:
        if column.name not in own:
            number: Any = {"anyOf": [{"type": "number"}, {"type": "null"}]}
            joined[column.name] = {"enum": list(column.categories), "type": "string"} if column.categories else number
    return {**schema, "properties": {**own, **joined}, "required": [*schema.get("required", ()), *joined]}


def _without(schema: Mapping[str, Any], names: Sequence[str]) -> Mapping[str, Any]:
    properties = {name: each for name, each in schema["properties"].items() if name not in names}
    return {**schema, "properties": properties, "required": [n for n in schema.get("required", ()) if n not in names]}


def _kinds(properties: Mapping[str, Mapping[str, Any]]) -> dict[str, pyarrow.DataType]:
    """The types of the columns of a function's outcomes: what is no plain value becomes JSON text."""
    import pyarrow

    plain = {"number": pyarrow.float64(), "integer": pyarrow.int64(), "boolean": pyarrow.bool_()}
    found = {}
    for name, schema in properties.items():
        real = [each for each in schema.get("anyOf", [schema]) if each.get("type") != "null"]
        found[name] = plain.get(real[0].get("type", ""), pyarrow.string()) if len(real) == 1 else pyarrow.string()
    return found


def _cells(values: Sequence[Any], kind: pyarrow.DataType) -> Sequence[Any]:
    import pyarrow

    if kind != pyarrow.string():
        return values
    return [each if each is None or isinstance(each, str) else msgspec.json.encode(each).decode() for each in values]


async def graph_scorer(
    ctx: Context, registry: Registry, runtime: Runtime, version: ModelVersion, *, threads: int
) -> GraphScorer:
    """A scorer of a registered version. Raises InvalidInput if it is none for tables, NotTrustworthy, Unavailable."""
    package = package_of(version)
    name = package.rungs["primary"]
    digests = {file.name: file.sha256 for file in version.files}
    if name not in digests:
        raise InvalidInput(
            f"the metadata of {version.model} {version.version} names {name}, which is not among its files"
        )
    pieces = [piece async for piece in registry.artifact(ctx, version.model, version.version, name)]
    content = b"".join(pieces)
    if hashlib.sha256(content).hexdigest() != digests[name]:
        raise NotTrustworthy(f"{name} of {version.model} {version.version} does not match its digest")
    graph = await asyncio.to_thread(
        runtime.load,
        content,
        input_name=package.input,
        output_name=package.output,
        columns=len(package.columns),
    )
    return GraphScorer(version, package, graph, threads)
